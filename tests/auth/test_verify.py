"""From an Authorization header to a caller, keys looked up in the real PostgreSQL."""

import base64
import dataclasses
import hmac
import json
import time
import uuid
from collections.abc import Awaitable, Callable

import asyncpg
import pytest
from auth_support import ISSUER, bearer, make_verifier
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import ECKey

import auth
from auth import verify
from auth.dpop import ALGORITHMS, Nonces, Proofs, token_hash
from auth.revocations import Revocations, record_client
from auth.signing import SigningKey
from auth.token import issue
from config.scope import Allowed, TenantScope

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
    expected = TenantScope("acme", "demo", frozenset({"inference", "agents"}), role="editor")
    assert await verifier.verify(auth.Credentials((scheme + token,))) == expected
    assert await verifier.verify(auth.Credentials((scheme + token,))) == expected


async def test_a_key_acts_as_its_client(verifier: auth.Verifier, key: auth.NewKey) -> None:
    scope = await verifier.verify(bearer(key.key))
    assert scope == TenantScope(
        "acme", "demo", frozenset({"inference", "agents"}), key.key_id, role="editor"
    )


async def test_a_key_of_a_sender_constrained_client_is_no_bearer_secret(
    verifier: auth.Verifier, pool: asyncpg.Pool, key: auth.NewKey
) -> None:
    await pool.execute("UPDATE clients SET dpop = true")
    with pytest.raises(auth.InvalidToken):
        await verifier.verify(bearer(key.key))


async def test_a_key_can_be_narrower_than_its_client(
    pool: asyncpg.Pool, box: auth.SecretBox, verifier: auth.Verifier, client: auth.NewClient
) -> None:
    narrow = await auth.create_key(pool, box, client.client_id, scopes=("agents",))
    assert (await verifier.verify(bearer(narrow.key))).scopes == {"agents"}


async def test_a_scope_taken_from_the_client_is_taken_from_its_keys(
    pool: asyncpg.Pool, box: auth.SecretBox, verifier: auth.Verifier, client: auth.NewClient
) -> None:
    both = await auth.create_key(pool, box, client.client_id, scopes=("inference", "agents"))
    await pool.execute("UPDATE clients SET scopes = '{agents}', default_scopes = '{agents}'")
    assert (await verifier.verify(bearer(both.key))).scopes == {"agents"}


@pytest.mark.parametrize("headers", [(), ("",), ("Basic ZGVtbzp4",), ("Token abc",), (" ",)])
async def test_no_token_is_missing_credentials(
    verifier: auth.Verifier, headers: tuple[str, ...]
) -> None:
    with pytest.raises(auth.MissingCredentials) as caught:
        await verifier.verify(auth.Credentials(headers))
    assert caught.value.proof_algorithms == ALGORITHMS


async def test_two_authorization_headers_are_an_invalid_request(
    verifier: auth.Verifier, token: str
) -> None:
    with pytest.raises(auth.InvalidCredentials):
        await verifier.verify(auth.Credentials((f"Bearer {token}",) * 2))


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
        await verifier.verify(bearer(credential))


@pytest.mark.parametrize("table", ["api_keys", "clients"])
async def test_a_disabled_key_or_client_is_refused_within_five_seconds(
    pool: asyncpg.Pool, verifier: auth.Verifier, key: auth.NewKey, clock: Clock, table: str
) -> None:
    await verifier.verify(bearer(key.key))
    await pool.execute(f"UPDATE {table} SET disabled_at = now()")
    await verifier.verify(bearer(key.key))
    clock.ahead = 5.0
    with pytest.raises(auth.InvalidToken, match="unknown or disabled"):
        await verifier.verify(bearer(key.key))


async def test_a_remembered_token_is_verified_again_when_it_expires(
    verifier: auth.Verifier, token: str, clock: Clock
) -> None:
    await verifier.verify(bearer(token))
    clock.ahead = 890
    await verifier.verify(bearer(token))
    clock.ahead = 901
    with pytest.raises(auth.InvalidToken, match="expired"):
        await verifier.verify(bearer(token))


async def test_the_memory_is_bounded_and_forgets_the_least_used(
    verifier: auth.Verifier,
    ask: Ask,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(verify, "_CACHE_SIZE", 2)
    tokens = [(await ask()).body["access_token"] for _ in range(3)]
    for text in (tokens[0], tokens[1], tokens[0], tokens[2]):
        await verifier.verify(bearer(text))
    read = []
    original = verify.token.parse
    monkeypatch.setattr(verify.token, "parse", lambda text: read.append(text) or original(text))
    for text in (tokens[0], tokens[2], tokens[1]):
        await verifier.verify(bearer(text))
    assert read == [tokens[1]]


async def test_credentials_do_not_lie_in_memory(
    verifier: auth.Verifier, token: str, key: auth.NewKey
) -> None:
    for credential in (token, key.key):
        await verifier.verify(bearer(credential))
        assert credential not in repr(verifier._cache)


async def test_tokens_verify_without_the_store_and_keys_say_it_is_down(
    verifier: auth.Verifier, token: str, key: auth.NewKey, pool: asyncpg.Pool
) -> None:
    await pool.close()
    await verifier.verify(bearer(token))
    with pytest.raises((OSError, asyncpg.InterfaceError)):
        await verifier.verify(bearer(key.key))


async def test_another_audience_is_refused(
    pool: asyncpg.Pool, box: auth.SecretBox, keys: auth.SigningKeys, token: str
) -> None:
    other = make_verifier(pool, box, keys, audience=f"{ISSUER}/other")
    with pytest.raises(auth.InvalidToken, match="another audience"):
        await other.verify(bearer(token))


def test_require_names_the_scope_that_is_missing() -> None:
    scope = TenantScope("acme", "demo", frozenset({"agents"}))
    auth.require(scope, "agents")
    for needed in ("agents:write", "agent", ""):
        with pytest.raises(auth.InsufficientScope) as caught:
            auth.require(dataclasses.replace(scope), needed)
        assert caught.value.needed == needed


async def test_a_clients_limits_are_in_its_tokens_and_keys(
    pool: asyncpg.Pool, verifier: auth.Verifier, ask: Ask, key: auth.NewKey
) -> None:
    await pool.execute(
        "UPDATE clients SET role = 'viewer', allowed_agents = '{hr,it}', allowed_models = '{}'"
    )
    allowed = Allowed(agents=frozenset({"hr", "it"}), models=frozenset())
    for credential in ((await ask()).body["access_token"], key.key):
        scope = await verifier.verify(bearer(credential))
        assert (scope.role, scope.allowed) == ("viewer", allowed)


@pytest.fixture(params=["token", "key"])
async def credential_of(
    request: pytest.FixtureRequest, pool: asyncpg.Pool, ask: Ask, key: auth.NewKey
) -> Callable[[str], Awaitable[str]]:
    """A credential of a client with this policy about end users."""

    async def make(policy: str) -> str:
        await pool.execute("UPDATE clients SET end_user = $1", policy)
        return key.key if request.param == "key" else str((await ask()).body["access_token"])

    return make


async def test_a_request_may_name_its_end_user(
    verifier: auth.Verifier, credential_of: Callable[[str], Awaitable[str]]
) -> None:
    credential = await credential_of("optional")
    for named in ("!", "a" * 256, "%ED%95%9C", "it's/me~"):
        assert (await verifier.verify(bearer(credential, named))).end_user == named
    assert (await verifier.verify(bearer(credential))).end_user == ""


async def test_a_policy_can_forbid_or_demand_end_users(
    verifier: auth.Verifier, credential_of: Callable[[str], Awaitable[str]]
) -> None:
    forbidden = await credential_of("forbidden")
    assert (await verifier.verify(bearer(forbidden))).end_user == ""
    with pytest.raises(auth.InvalidEndUser, match="may not name"):
        await verifier.verify(bearer(forbidden, "u1"))


async def test_a_policy_can_demand_end_users(
    verifier: auth.Verifier, credential_of: Callable[[str], Awaitable[str]]
) -> None:
    required = await credential_of("required")
    assert (await verifier.verify(bearer(required, "u1"))).end_user == "u1"
    with pytest.raises(auth.InvalidEndUser, match="name the end user"):
        await verifier.verify(bearer(required))


@pytest.mark.parametrize("named", ["", " ", "a b", "a" * 257, "한", "é", "a\n", "a\x7f", "\0"])
async def test_an_end_user_that_is_not_visible_ascii_is_refused(
    verifier: auth.Verifier, token: str, named: str
) -> None:
    with pytest.raises(auth.InvalidEndUser, match="visible ASCII"):
        await verifier.verify(bearer(token, named))
    with pytest.raises(auth.InvalidEndUser, match="once"):
        await verifier.verify(bearer(token, "a", "a"))


HOLDER = ECKey.generate_key("P-256")
URL = f"{ISSUER}/v1/models"


def prove(text: str, key: ECKey = HOLDER, **claims: object) -> str:
    """A proof for GET `URL` with the token `text`."""
    header = {"typ": "dpop+jwt", "alg": "ES256", "jwk": key.as_dict(private=False)}
    members = {
        "jti": uuid.uuid4().hex,
        "htm": "GET",
        "htu": URL,
        "iat": int(time.time()),
        "ath": token_hash(text),
    }
    registry = jws.JWSRegistry(algorithms=["ES256"])
    payload = json.dumps(members | claims)
    return jws.serialize_compact(header, payload, key, registry=registry)


def with_proof(text: str, *proofs: str, scheme: str = "DPoP") -> auth.Credentials:
    return auth.Credentials((f"{scheme} {text}",), dpop=proofs, method="GET", url=URL)


@pytest.fixture
async def bound(pool: asyncpg.Pool, keys: auth.SigningKeys, client: auth.NewClient) -> str:
    """A token that only the holder of `HOLDER` may use."""
    found = await auth.find_client(pool, client.client_id)
    assert found is not None
    return issue(
        keys,
        issuer=ISSUER,
        audience=ISSUER,
        client=found,
        scope="agents",
        ttl_s=900,
        jkt=HOLDER.thumbprint(),
    )


async def test_a_bound_token_counts_with_a_fresh_proof_each_time(
    verifier: auth.Verifier, bound: str
) -> None:
    for _ in range(2):
        proof = prove(bound)
        assert (await verifier.verify(with_proof(bound, proof))).client == "demo"
        with pytest.raises(auth.ProofRefused):
            await verifier.verify(with_proof(bound, proof))


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
async def test_a_bound_token_is_no_bearer_token(
    verifier: auth.Verifier, bound: str, scheme: str
) -> None:
    await verifier.verify(with_proof(bound, prove(bound)))
    with pytest.raises(auth.InvalidToken, match="bound to a key") as caught:
        await verifier.verify(with_proof(bound, prove(bound), scheme=scheme))
    assert caught.value.challenge("m").startswith("Bearer ")


async def test_an_unbound_token_or_key_is_none_for_dpop(
    verifier: auth.Verifier, token: str, key: auth.NewKey
) -> None:
    for credential in (token, key.key):
        with pytest.raises(auth.InvalidToken, match="not bound") as caught:
            await verifier.verify(with_proof(credential, prove(credential)))
        assert caught.value.challenge("m").startswith("DPoP ")


async def test_a_proof_of_another_key_token_or_request_is_refused(
    verifier: auth.Verifier, bound: str, token: str
) -> None:
    with pytest.raises(auth.InvalidToken, match="another key"):
        await verifier.verify(with_proof(bound, prove(bound, ECKey.generate_key("P-256"))))
    wrong = (prove(token), prove(bound, htm="POST"), prove(bound, htu=f"{ISSUER}/v1"))
    for proofs in (*((proof,) for proof in wrong), (), (prove(bound), prove(bound)), ("x",)):
        with pytest.raises(auth.ProofRefused) as caught:
            await verifier.verify(with_proof(bound, *proofs))
        assert caught.value.code == "invalid_dpop_proof"


async def test_a_proof_without_the_nonce_learns_it(
    pool: asyncpg.Pool, box: auth.SecretBox, keys: auth.SigningKeys, bound: str
) -> None:
    proofs = Proofs(pool, Nonces(box), require_nonce=True)
    verifier = dataclasses.replace(make_verifier(pool, box, keys), proofs=proofs)
    with pytest.raises(auth.ProofRefused) as caught:
        await verifier.verify(with_proof(bound, prove(bound)))
    assert (caught.value.code, caught.value.status) == ("use_dpop_nonce", 401)
    proof = prove(bound, nonce=caught.value.nonce)
    assert (await verifier.verify(with_proof(bound, proof))).client == "demo"


class PlayedIssuer:
    """Stands in for foreign issuers; counts."""

    def __init__(self) -> None:
        self.asked = 0

    def knows(self, issuer: str) -> bool:
        return issuer == "https://idp.example"

    async def verify(self, text: str, issuer: str) -> tuple[TenantScope, int]:
        self.asked += 1
        scope = TenantScope("acme", "demo", frozenset({"agents"}), end_user="u1")
        return scope, int(time.time()) + 3600


async def test_a_foreign_token_is_remembered_for_five_minutes_or_until_its_client_changes(
    pool: asyncpg.Pool, box: auth.SecretBox, keys: auth.SigningKeys, clock: Clock
) -> None:
    played, revocations = PlayedIssuer(), Revocations(pool)
    verifier = make_verifier(pool, box, keys, foreign=played, revocations=revocations)
    payload = json.dumps({"iss": "https://idp.example"})
    text = jws.serialize_compact({"alg": "ES256"}, payload, HOLDER)
    for _ in range(2):
        assert (await verifier.verify(bearer(text))).end_user == "u1"
    assert played.asked == 1
    await record_client(pool, "demo", 1)
    await revocations.refresh()
    await verifier.verify(bearer(text))
    clock.ahead = 301
    await verifier.verify(bearer(text))
    assert played.asked == 3
    with pytest.raises(auth.InvalidEndUser):
        await verifier.verify(bearer(text, "u2"))


async def test_a_lookup_that_overlaps_a_revocation_is_not_remembered(
    pool: asyncpg.Pool, box: auth.SecretBox, keys: auth.SigningKeys
) -> None:
    revocations = Revocations(pool)

    class Overtaken(PlayedIssuer):
        async def verify(self, text: str, issuer: str) -> tuple[TenantScope, int]:
            found = await super().verify(text, issuer)
            await record_client(pool, "demo", self.asked)
            await revocations.refresh()
            return found

    played = Overtaken()
    verifier = make_verifier(pool, box, keys, foreign=played, revocations=revocations)
    payload = json.dumps({"iss": "https://idp.example"})
    text = jws.serialize_compact({"alg": "ES256"}, payload, HOLDER)
    for _ in range(2):
        await verifier.verify(bearer(text))
    assert played.asked == 2


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    authorization=st.lists(
        st.text(max_size=80) | st.text(max_size=80).map("Bearer {}".format), max_size=2
    ).map(tuple),
    dpop=st.lists(st.text(max_size=80), max_size=2).map(tuple),
    end_user=st.lists(st.text(max_size=80), max_size=2).map(tuple),
)
@example(("Bearer sk-naru-" + "a" * 43,), (), ())
@example(("DPoP " + "a" * 43,), ("x",), ("é",))
@example(("Bearer " + "a." * 32_768,), (), ())
async def test_any_headers_are_refused_and_nothing_worse(
    verifier: auth.Verifier,
    authorization: tuple[str, ...],
    dpop: tuple[str, ...],
    end_user: tuple[str, ...],
) -> None:
    with pytest.raises(auth.AuthError):
        await verifier.verify(auth.Credentials(authorization, dpop, end_user, "GET", URL))


OTHER = SigningKey.generate("ES256")


def _encode(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).decode().rstrip("=")


def _forge(keys: auth.SigningKeys, text: str, how: str, data: st.DataObject) -> str:
    """A token made of a good one, by somebody without the key."""
    header, payload, signature = text.split(".")
    public = keys.jwks()["keys"][0]
    jwk = ECKey.import_key({str(name): str(value) for name, value in public.items()})
    members = {"alg": "ES256", "kid": str(public["kid"]), "typ": "at+jwt"}
    match how:
        case "truncated":
            return text[: data.draw(st.integers(0, len(text) - 1))]
        case "signed by another":
            other = dataclasses.replace(OTHER, kid=members["kid"])
            return other.sign(base64.urlsafe_b64decode(payload + "=="), typ="at+jwt")
        case "none":
            name = data.draw(st.sampled_from(["none", "None", "NONE"]))
            return f"{_encode(json.dumps(members | {'alg': name}).encode())}.{payload}."
        case "confused":
            secret = data.draw(
                st.sampled_from(
                    [
                        jwk.as_pem(private=False),
                        jwk.as_der(private=False),
                        json.dumps(public).encode(),
                    ]
                )
            )
            content = f"{_encode(json.dumps(members | {'alg': 'HS256'}).encode())}.{payload}"
            return f"{content}.{_encode(hmac.digest(secret, content.encode(), 'sha256'))}"
        case "claimed twice":
            claims = base64.urlsafe_b64decode(payload + "==")[:-1] + b',"scope":"admin"}'
            return f"{header}.{_encode(claims)}.{signature}"
        case _:
            return f"{header}.{payload}{'A' * 65_536}.{signature}"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    how=st.sampled_from(
        ["truncated", "signed by another", "none", "confused", "claimed twice", "too long"]
    ),
    data=st.data(),
)
async def test_no_forgery_of_a_good_token_passes(
    verifier: auth.Verifier, keys: auth.SigningKeys, token: str, how: str, data: st.DataObject
) -> None:
    with pytest.raises((auth.InvalidToken, auth.MissingCredentials)):
        await verifier.verify(bearer(_forge(keys, token, how, data)))


async def test_a_token_that_names_a_member_twice_is_refused_though_we_signed_it(
    verifier: auth.Verifier, keys: auth.SigningKeys, token: str
) -> None:
    payload = base64.urlsafe_b64decode(token.split(".")[1] + "==")
    await verifier.verify(bearer(keys.sign(payload, typ="at+jwt")))
    twice = payload[:-1] + b',"scope":"admin"}'
    with pytest.raises(auth.InvalidToken):
        await verifier.verify(bearer(keys.sign(twice, typ="at+jwt")))
