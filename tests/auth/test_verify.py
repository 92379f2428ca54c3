"""From an Authorization header to a caller, keys looked up in the real PostgreSQL."""

import dataclasses
import time
from collections.abc import Awaitable, Callable

import asyncpg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import auth
from auth import verify
from config.scope import TenantScope

Ask = Callable[..., Awaitable[auth.OAuthAnswer]]


@pytest.fixture
async def token(ask: Ask) -> str:
    return (await ask()).body["access_token"]


@pytest.fixture
async def key(pool: asyncpg.Pool, box: auth.SecretBox, client: auth.NewClient) -> auth.NewKey:
    return await auth.create_key(pool, box, client.client_id)


class Clock:
    """Stands in for `time`; moves when told."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def time(self) -> float:
        return time.time() + self.ahead

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(verify, "time", clock)
    monkeypatch.setattr(verify.token, "time", clock)
    return clock


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER   "])
async def test_a_token_says_who_is_asking(verifier: auth.Verifier, token: str, scheme: str) -> None:
    expected = TenantScope("acme", "demo", frozenset({"inference", "agents"}))
    assert await verifier.verify(scheme + token) == expected
    assert await verifier.verify(scheme + token) == expected


async def test_a_key_acts_as_its_client(verifier: auth.Verifier, key: auth.NewKey) -> None:
    scope = await verifier.verify(f"Bearer {key.key}")
    assert scope == TenantScope(
        "acme", "demo", frozenset({"inference", "agents"}), key.key_id, role="editor"
    )


async def test_a_key_can_be_narrower_than_its_client(
    pool: asyncpg.Pool, box: auth.SecretBox, verifier: auth.Verifier, client: auth.NewClient
) -> None:
    narrow = await auth.create_key(pool, box, client.client_id, scopes=("agents",))
    assert (await verifier.verify(f"Bearer {narrow.key}")).scopes == {"agents"}


async def test_a_scope_taken_from_the_client_is_taken_from_its_keys(
    pool: asyncpg.Pool, box: auth.SecretBox, verifier: auth.Verifier, client: auth.NewClient
) -> None:
    both = await auth.create_key(pool, box, client.client_id, scopes=("inference", "agents"))
    await pool.execute("UPDATE clients SET scopes = '{agents}', default_scopes = '{agents}'")
    assert (await verifier.verify(f"Bearer {both.key}")).scopes == {"agents"}


@pytest.mark.parametrize("header", [None, "", "Basic ZGVtbzp4", "Token abc", "DPoP abc", " "])
async def test_no_bearer_credentials_are_missing_credentials(
    verifier: auth.Verifier, header: str | None
) -> None:
    with pytest.raises(auth.MissingCredentials):
        await verifier.verify(header)


@pytest.mark.parametrize(
    "credential",
    [
        *("", " ", "a b", "a\0b", "한글", "\ud800", "é", "a\n", "=", "a=b", "٣"),
        *("x" * 65_536, "sk-naru-", "sk-naru-" + "a" * 42, "sk-naru-" + "a" * 44),
        *("sk-naru-" + "a" * 43, "sk-naru-" + "." * 43, "SK-NARU-" + "a" * 43, "a.b.c"),
    ],
)
async def test_malformed_and_unknown_credentials_are_invalid_tokens(
    verifier: auth.Verifier, credential: str
) -> None:
    with pytest.raises(auth.InvalidToken):
        await verifier.verify(f"Bearer {credential}")


@pytest.mark.parametrize("table", ["api_keys", "clients"])
async def test_a_disabled_key_or_client_is_refused_within_five_seconds(
    pool: asyncpg.Pool, verifier: auth.Verifier, key: auth.NewKey, clock: Clock, table: str
) -> None:
    await verifier.verify(f"Bearer {key.key}")
    await pool.execute(f"UPDATE {table} SET disabled_at = now()")
    await verifier.verify(f"Bearer {key.key}")
    clock.ahead = 5.0
    with pytest.raises(auth.InvalidToken, match="unknown or disabled"):
        await verifier.verify(f"Bearer {key.key}")


async def test_a_remembered_token_is_verified_again_when_it_expires(
    verifier: auth.Verifier, token: str, clock: Clock
) -> None:
    await verifier.verify(f"Bearer {token}")
    clock.ahead = 890
    await verifier.verify(f"Bearer {token}")
    clock.ahead = 901
    with pytest.raises(auth.InvalidToken, match="expired"):
        await verifier.verify(f"Bearer {token}")


async def test_the_memory_is_bounded_and_forgets_the_least_used(
    verifier: auth.Verifier,
    ask: Ask,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(verify, "_CACHE_SIZE", 2)
    tokens = [(await ask()).body["access_token"] for _ in range(3)]
    for text in (tokens[0], tokens[1], tokens[0], tokens[2]):
        await verifier.verify(f"Bearer {text}")
    read = []
    original = verify.token.read
    monkeypatch.setattr(
        verify.token,
        "read",
        lambda text, *args, **kw: read.append(text) or original(text, *args, **kw),
    )
    for text in (tokens[0], tokens[2], tokens[1]):
        await verifier.verify(f"Bearer {text}")
    assert read == [tokens[1]]


async def test_credentials_do_not_lie_in_memory(
    verifier: auth.Verifier, token: str, key: auth.NewKey
) -> None:
    for credential in (token, key.key):
        await verifier.verify(f"Bearer {credential}")
        assert credential not in repr(vars(verifier))


async def test_tokens_verify_without_the_store_and_keys_say_it_is_down(
    verifier: auth.Verifier, token: str, key: auth.NewKey, pool: asyncpg.Pool
) -> None:
    await pool.close()
    await verifier.verify(f"Bearer {token}")
    with pytest.raises((OSError, asyncpg.InterfaceError)):
        await verifier.verify(f"Bearer {key.key}")


async def test_another_audience_is_refused(
    pool: asyncpg.Pool, box: auth.SecretBox, keys: auth.SigningKeys, token: str
) -> None:
    issuer = "https://naru.example"
    other = auth.Verifier(pool, box, keys, issuer=issuer, audience=f"{issuer}/other")
    with pytest.raises(auth.InvalidToken, match="another audience"):
        await other.verify(f"Bearer {token}")


def test_require_names_the_scope_that_is_missing() -> None:
    scope = TenantScope("acme", "demo", frozenset({"agents"}))
    auth.require(scope, "agents")
    for needed in ("agents:write", "agent", ""):
        with pytest.raises(auth.InsufficientScope) as caught:
            auth.require(dataclasses.replace(scope), needed)
        assert caught.value.needed == needed


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(header=st.text(max_size=80) | st.text(max_size=80).map("Bearer {}".format))
@example("Bearer sk-naru-" + "a" * 43)
async def test_any_header_is_refused_and_nothing_worse(
    verifier: auth.Verifier, header: str
) -> None:
    with pytest.raises(auth.AuthError):
        await verifier.verify(header)
