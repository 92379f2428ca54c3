"""Revocation (RFC 7009) and introspection (RFC 7662) of tokens and API keys."""

import time
from collections.abc import Awaitable, Callable

import asyncpg
import pytest
from auth_support import make_verifier

import auth
from auth import clients
from auth.revocations import Revocations

Ask = Callable[..., Awaitable[auth.OAuthAnswer]]
INACTIVE = {"active": False}


async def token_of(ask: Ask, **parameters: str) -> str:
    answer = await ask(**parameters)
    assert answer.body
    return str(answer.body["access_token"])


@pytest.fixture
async def neighbour(
    pool: asyncpg.Pool, box: auth.SecretBox, client: auth.NewClient
) -> dict[str, str]:
    """Another client of the same tenant, as form parameters."""
    made = await auth.create_client(pool, box, "acme", name="neighbour", client_id="neighbour")
    return {"client_id": made.client_id, "client_secret": made.client_secret}


@pytest.fixture
async def stranger(pool: asyncpg.Pool, box: auth.SecretBox) -> dict[str, str]:
    """A client of another tenant, as form parameters."""
    await auth.create_tenant(pool, "rival", "Rival")
    made = await auth.create_client(
        pool, box, "rival", name="stranger", client_id="stranger", scopes=("inference", "admin")
    )
    return {"client_id": made.client_id, "client_secret": made.client_secret}


async def test_a_token_of_ones_own_is_described(ask: Ask) -> None:
    token = await token_of(ask)
    answer = await ask(endpoint="introspect", token=token)
    body = answer.body
    assert body
    assert (answer.status, body["active"], body["token_type"]) == (200, True, "Bearer")
    assert (body["client_id"], body["sub"], body["tenant"]) == ("demo", "demo", "acme")
    assert body["scope"] == "inference agents"
    assert body["exp"] - body["iat"] == 900
    assert body.keys() == {
        *("active", "token_type", "scope", "client_id", "exp", "iat"),
        *("sub", "aud", "iss", "jti", "tenant"),
    }


async def test_an_api_key_of_ones_own_is_described(
    ask: Ask, pool: asyncpg.Pool, box: auth.SecretBox
) -> None:
    key = await auth.create_key(pool, box, "demo", scopes=["agents"])
    answer = await ask(endpoint="introspect", token=key.key)
    assert answer.body == {
        "active": True,
        "scope": "agents",
        "client_id": "demo",
        "sub": "demo",
        "token_type": "Bearer",
        "tenant": "acme",
    }


@pytest.mark.parametrize("token", ["x", "a.b.c", "sk-naru-unknown", "한글", "x" * 30_000])
async def test_what_is_no_token_is_inactive_and_nothing_more(ask: Ask, token: str) -> None:
    assert (await ask(endpoint="introspect", token=token)).body == INACTIVE


async def test_a_client_does_not_see_anothers(
    ask: Ask, neighbour: dict[str, str], stranger: dict[str, str]
) -> None:
    token = await token_of(ask)
    assert (await ask(endpoint="introspect", token=token, **neighbour)).body == INACTIVE
    assert (await ask(endpoint="introspect", token=token, **stranger)).body == INACTIVE


@pytest.mark.parametrize(
    ("role", "scopes", "seen"),
    [
        ("editor", "{inference,admin}", [False, False]),
        ("admin", "{inference,admin}", [True, False]),
        ("admin", "{inference}", [False, False]),
        ("operator", "{inference,admin}", [True, True]),
    ],
)
async def test_admins_see_their_tenants_and_operators_all(
    ask: Ask,
    pool: asyncpg.Pool,
    neighbour: dict[str, str],
    stranger: dict[str, str],
    role: str,
    scopes: str,
    seen: list[bool],
) -> None:
    await pool.execute(
        "UPDATE clients SET role = $1, scopes = $2::text::text[], default_scopes = '{inference}'"
        " WHERE id = 'neighbour'",
        role,
        scopes,
    )
    tokens = await token_of(ask), await token_of(ask, **stranger)
    answers = [await ask(endpoint="introspect", token=token, **neighbour) for token in tokens]
    assert [answer.body["active"] for answer in answers if answer.body] == seen


async def test_a_revoked_token_is_inactive_at_once_and_soon_refused(
    ask: Ask, pool: asyncpg.Pool, box: auth.SecretBox, keys: auth.SigningKeys
) -> None:
    token = await token_of(ask)
    answer = await ask(endpoint="revoke", token=token, token_type_hint="nonsense")
    assert (answer.status, answer.body) == (200, None)
    assert (await ask(endpoint="introspect", token=token)).body == INACTIVE
    revocations = Revocations(pool)
    await revocations.refresh()
    verifier = make_verifier(pool, box, keys, revocations=revocations)
    with pytest.raises(auth.InvalidToken, match="revoked"):
        await verifier.verify(auth.Credentials((f"Bearer {token}",)))


async def test_a_revoked_key_is_disabled(ask: Ask, pool: asyncpg.Pool, box: auth.SecretBox) -> None:
    key = await auth.create_key(pool, box, "demo")
    assert (await ask(endpoint="revoke", token=key.key)).status == 200
    assert await auth.find_key(pool, box, key.key) is None


async def test_a_key_is_disabled_and_announced_or_neither(
    ask: Ask, pool: asyncpg.Pool, box: auth.SecretBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(db: asyncpg.Connection, key_id: str) -> None:
        raise ConnectionError

    key = await auth.create_key(pool, box, "demo")
    monkeypatch.setattr(clients, "record_key", fail)
    with pytest.raises(ConnectionError):
        await ask(endpoint="revoke", token=key.key)
    assert await auth.find_key(pool, box, key.key)


async def test_anothers_tokens_are_left_alone(ask: Ask, neighbour: dict[str, str]) -> None:
    token = await token_of(ask)
    refused = await ask(endpoint="revoke", token=token, **neighbour)
    assert refused.body
    assert (refused.status, refused.body["error"]) == (400, "invalid_grant")
    answer = await ask(endpoint="introspect", token=token)
    assert answer.body
    assert answer.body["active"] is True


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE clients SET disabled_at = now() WHERE id = 'demo'",
        "UPDATE clients SET generation = generation + 1 WHERE id = 'demo'",
        "UPDATE tenants SET disabled_at = now() WHERE id = 'acme'",
    ],
)
async def test_what_ends_a_token_makes_it_inactive(
    ask: Ask, pool: asyncpg.Pool, stranger: dict[str, str], change: str
) -> None:
    token = await token_of(ask)
    await pool.execute("UPDATE clients SET role = 'operator' WHERE id = 'stranger'")
    await pool.execute(change)
    body = (await ask(endpoint="introspect", token=token, **stranger)).body
    assert body == INACTIVE


async def test_an_expired_token_is_inactive(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    token = await token_of(ask)
    later = time.time() + 901
    monkeypatch.setattr(time, "time", lambda: later)
    assert (await ask(endpoint="introspect", token=token)).body == INACTIVE


@pytest.mark.parametrize("endpoint", ["introspect", "revoke"])
async def test_a_token_must_be_named_and_the_client_known(ask: Ask, endpoint: str) -> None:
    answer = await ask(endpoint=endpoint)
    assert (answer.status, answer.body["error"] if answer.body else "") == (400, "invalid_request")
    answer = await ask(endpoint=endpoint, token="x", client_secret="wrong")
    assert (answer.status, answer.body["error"] if answer.body else "") == (401, "invalid_client")
    assert (await ask(endpoint=endpoint, method="GET")).headers == {"Allow": "POST"}


async def test_a_token_for_another_resource_is_described_and_refused_here(
    ask: Ask, verifier: auth.Verifier
) -> None:
    token = await token_of(ask, resource="https://other.naru.example")
    answer = await ask(endpoint="introspect", token=token)
    assert answer.body
    assert answer.body["aud"] == "https://other.naru.example"
    with pytest.raises(auth.InvalidToken, match="another audience"):
        await verifier.verify(auth.Credentials((f"Bearer {token}",)))
