"""Access tokens of foreign issuers, in the shapes that Keycloak, Entra ID, Okta and Auth0 give."""

import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import aiohttp
import asyncpg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from issuer_support import Issuer, play_issuer
from joserfc.jwk import ECKey, OctKey, RSAKey
from joserfc.util import urlsafe_b64encode

import auth
from auth import issuers
from auth.errors import InvalidToken
from auth.issuers import ForeignIssuers
from auth.jwks import IssuerUnavailable
from config.scope import TenantScope
from config.settings import IssuerSettings

AUDIENCE = "https://naru.example"
NOW = int(time.time())
RSA = RSAKey.generate_key(2048, {"kid": "rsa"})
KEYCLOAK = {
    "exp": NOW + 300,
    "iat": NOW,
    "jti": "onrtac:0b7d4ef0-5c46",
    "aud": [AUDIENCE, "account"],
    "sub": "36fa0f91-f94d-4a0c-afed-6b7d952e47da",
    "typ": "Bearer",
    "azp": "hr-portal",
    "sid": "2a88c258-f73a-4103-b862-e1fbd8f4e04e",
    "acr": "1",
    "allowed-origins": ["https://portal.example"],
    "realm_access": {"roles": ["offline_access", "asks"]},
    "resource_access": {"naru": {"roles": ["writes"]}},
    "scope": "email profile chat",
    "email": "someone@example.com",
}
ENTRA_USER = {
    "aud": AUDIENCE,
    "iat": NOW,
    "nbf": NOW,
    "exp": NOW + 4000,
    "aio": "AXQAi/8TAAAA",
    "azp": "15cb020f-3984-482a-864d-1d92265e8268",
    "azpacr": "0",
    "oid": "690222be-ff1a-4d56-abd1-7e4f7d38e474",
    "scp": "Agents.Chat Models.Use",
    "sub": "HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ",
    "tid": "72f988bf-86f1-41af-91ab-2d7cd011db47",
    "ver": "2.0",
}
ENTRA_APP = {
    "aud": AUDIENCE,
    "iat": NOW,
    "nbf": NOW,
    "exp": NOW + 3600,
    "appid": "15cb020f-3984-482a-864d-1d92265e8268",
    "appidacr": "1",
    "roles": ["asks"],
    "sub": "f3a4c5d6",
    "tid": "72f988bf-86f1-41af-91ab-2d7cd011db47",
    "ver": "1.0",
}
OKTA = {
    "ver": 1,
    "aud": AUDIENCE,
    "iat": NOW,
    "exp": NOW + 300,
    "cid": "0oabucvyc38HLL1ef0h7",
    "uid": "00ubu6qvgeQYdbiJ20g4",
    "scp": ["openid", "chat"],
    "sub": "someone@example.com",
}
AUTH0 = {
    "aud": [AUDIENCE, "https://acme.auth0.example/userinfo"],
    "sub": "auth0|5f7c8ec7c33c6c004bbafe82",
    "iat": NOW,
    "exp": NOW + 300,
    "azp": "my_client_id",
    "scope": "openid chat",
    "https://naru.example/words": ["asks"],
}
Verify = Callable[..., Awaitable[TenantScope]]


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with play_issuer() as playing:
        playing.published.append(dict(RSA.as_dict(private=False)))
        yield playing


@pytest.fixture
async def stand_in(pool: asyncpg.Pool, box: auth.SecretBox) -> str:
    """The client of ours that foreign tokens act as."""
    await auth.create_tenant(pool, "acme", "Acme")
    made = await auth.create_client(
        pool, box, "acme", name="HR portal", scopes=("inference", "agents"), client_id="portal"
    )
    return made.client_id


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is `NOW`, however long ago this module was collected."""
    monkeypatch.setattr(issuers, "time", SimpleNamespace(time=lambda: float(NOW)))


@pytest.fixture
def verify(
    issuer: Issuer, stand_in: str, pool: asyncpg.Pool, http: aiohttp.ClientSession
) -> Verify:
    """Verify a token whose scope `chat` or role `asks` is our `agents`; keywords are settings."""
    opened: dict[str, ForeignIssuers] = {}

    async def send(token: str, **changes: Any) -> TenantScope:
        values: dict[str, Any] = {
            "issuer": issuer.url,
            "audience": AUDIENCE,
            "client": stand_in,
            "scopes": {"chat": ["agents"], "asks": ["agents"], "writes": ["agents:write"]},
        }
        part = IssuerSettings.model_validate(values | changes)
        issuers = opened.setdefault(repr(part), ForeignIssuers([part], http, pool))
        assert issuers.knows(issuer.url)
        assert not issuers.knows("https://other.example")
        scope, expires = await issuers.verify(token, issuer.url)
        assert expires > NOW - 60
        return scope

    return send


@pytest.mark.parametrize(
    ("claims", "scope_claim"),
    [
        (KEYCLOAK, "scope"),
        (KEYCLOAK, ["realm_access", "roles"]),
        (ENTRA_USER, "scp"),
        (ENTRA_APP, "roles"),
        (OKTA, "scp"),
        (AUTH0, "scope"),
        (AUTH0, "https://naru.example/words"),
    ],
)
async def test_tokens_of_the_known_issuers_act_as_our_client_for_their_user(
    verify: Verify, issuer: Issuer, claims: dict[str, Any], scope_claim: str | list[str]
) -> None:
    words = {"chat": ["agents"], "asks": ["agents"], "Agents.Chat": ["agents"]}
    for header, key, alg in (({"typ": "at+jwt"}, None, "ES256"), ({"kid": "rsa"}, RSA, "RS256")):
        token = issuer.sign(claims | {"iss": issuer.url}, header, key, alg)
        scope = await verify(token, scope_claim=scope_claim, scopes=words)
        assert scope == TenantScope(
            "acme", "portal", frozenset({"agents"}), end_user=claims["sub"], role="editor"
        )


async def test_our_client_bounds_what_a_token_may(
    verify: Verify, issuer: Issuer, pool: asyncpg.Pool
) -> None:
    await pool.execute(
        "UPDATE clients SET role = 'viewer', allowed_agents = '{hr}', scopes = '{agents}', "
        "default_scopes = '{}'"
    )
    words = {"chat": ["agents", "inference", "admin"]}
    scope = await verify(issuer.sign(KEYCLOAK | {"iss": issuer.url}), scopes=words)
    assert scope.scopes == {"agents"}
    assert scope.role == "viewer"
    assert scope.allowed.agents == {"hr"}


@pytest.mark.parametrize(
    "claim",
    [None, "", "nothing here", [], ["nothing"], {"chat": True}, 7, [["chat"], {"a": 1}], "CHAT"],
)
async def test_words_that_are_not_mapped_grant_nothing(
    verify: Verify, issuer: Issuer, claim: object
) -> None:
    token = issuer.sign(KEYCLOAK | {"iss": issuer.url, "scope": claim})
    assert (await verify(token)).scopes == frozenset()
    assert (await verify(token, scope_claim=["scope", "roles"])).scopes == frozenset()


async def test_a_claim_may_choose_among_our_clients(
    verify: Verify, issuer: Issuer, pool: asyncpg.Pool, box: auth.SecretBox
) -> None:
    await auth.create_tenant(pool, "umbrella", "Umbrella")
    await auth.create_client(pool, box, "umbrella", name="theirs", client_id="umbrella-portal")
    mapped = {
        "client": None,
        "client_claim": "tid",
        "clients": {"one": "portal", "two": "umbrella-portal"},
    }
    for value, tenant in (("one", "acme"), ("two", "umbrella")):
        token = issuer.sign(KEYCLOAK | {"iss": issuer.url, "tid": value})
        assert (await verify(token, **mapped)).tenant == tenant
    for unknown in (None, "", "three", "portal", ["one"], 1, {"one": 1}):
        with pytest.raises(InvalidToken, match="stands for"):
            await verify(issuer.sign(KEYCLOAK | {"iss": issuer.url, "tid": unknown}), **mapped)


@pytest.mark.parametrize(
    "change",
    [
        "clients SET disabled_at = now()",
        "clients SET dpop = true",
        "clients SET id = 'renamed'",
        "tenants SET disabled_at = now()",
    ],
)
async def test_a_client_that_is_gone_or_stricter_ends_its_foreign_tokens(
    verify: Verify, issuer: Issuer, pool: asyncpg.Pool, change: str
) -> None:
    token = issuer.sign(KEYCLOAK | {"iss": issuer.url})
    await verify(token)
    await pool.execute("DELETE FROM client_secrets")
    await pool.execute(f"UPDATE {change}")
    with pytest.raises(InvalidToken, match="stands for"):
        await verify(token)


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"iss": "https://other.example"}, "another issuer"),
        ({"iss": AUDIENCE}, "another issuer"),
        ({"aud": "account"}, "another audience"),
        ({"aud": []}, "another audience"),
        ({"aud": [AUDIENCE + "/"]}, "another audience"),
        ({"exp": NOW - 62}, "expired"),
        ({"nbf": NOW + 600}, "not valid yet"),
        ({"iat": NOW + 600}, "not valid yet"),
        ({"nonce": "n"}, "not an access token"),
        ({"at_hash": "h"}, "not an access token"),
        ({"typ": "ID"}, "not an access token"),
        ({"typ": "Refresh"}, "not an access token"),
        ({"azp": None}, "not an access token"),
        ({"cnf": {"jkt": "x"}}, "bound to a key"),
        ({"cnf": {"x5t#S256": "x"}}, "bound to a key"),
        ({"iss": None}, "alg, kid, sub, exp"),
        ({"aud": None}, "alg, kid, sub, exp"),
        ({"aud": {AUDIENCE: 1}}, "alg, kid, sub, exp"),
        ({"exp": None}, "alg, kid, sub, exp"),
        ({"exp": "never"}, "alg, kid, sub, exp"),
        ({"exp": 1e300}, "alg, kid, sub, exp"),
        ({"exp": True}, "alg, kid, sub, exp"),
        ({"sub": None}, "alg, kid, sub, exp"),
        ({"sub": ""}, "alg, kid, sub, exp"),
        ({"sub": "a" * 256}, "alg, kid, sub, exp"),
        ({"sub": "two words"}, "alg, kid, sub, exp"),
        ({"sub": "line\n"}, "alg, kid, sub, exp"),
        ({"sub": "\0"}, "alg, kid, sub, exp"),
        ({"sub": "é"}, "alg, kid, sub, exp"),
        ({"padding": "a" * 16_384}, "longer"),
    ],
)
async def test_claims_that_do_not_fit_are_refused(
    verify: Verify, issuer: Issuer, claims: dict[str, Any], why: str
) -> None:
    with pytest.raises(InvalidToken, match=why):
        await verify(issuer.sign(KEYCLOAK | {"iss": issuer.url} | claims))


@pytest.mark.parametrize("claims", [{"exp": NOW - 30}, {"nbf": NOW + 55.5}, {"iat": NOW + 55}])
async def test_clocks_may_be_a_minute_apart(
    verify: Verify, issuer: Issuer, claims: dict[str, Any]
) -> None:
    await verify(issuer.sign(KEYCLOAK | {"iss": issuer.url} | claims))


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ({"typ": "logout+jwt"}, "not an access token"),
        ({"typ": "dpop+jwt"}, "not an access token"),
        ({"typ": "ID"}, "not an access token"),
        ({"typ": 7}, "alg, kid, sub, exp"),
        ({"kid": None}, "alg, kid, sub, exp"),
        ({"kid": ["k1"]}, "alg, kid, sub, exp"),
        ({"kid": "k2"}, "not signed"),
        ({"alg": None}, "alg, kid, sub, exp"),
        ({"alg": "none"}, "not signed"),
        ({"alg": "HS256"}, "not signed"),
        ({"alg": "RS256"}, "not signed"),
        ({"alg": "es256"}, "not signed"),
        ({"crit": ["exp"], "exp": 1}, "alg, kid, sub, exp"),
        ({"jwk": {"kty": "EC"}}, "its own key"),
        ({"jku": "https://other.example/keys"}, "its own key"),
        ({"x5u": "https://other.example/cert"}, "its own key"),
        ({"x5c": ["MII"]}, "its own key"),
    ],
)
async def test_headers_that_do_not_fit_are_refused(
    verify: Verify, issuer: Issuer, header: dict[str, Any], why: str
) -> None:
    with pytest.raises(InvalidToken, match=why):
        await verify(issuer.sign(KEYCLOAK | {"iss": issuer.url}, header))


async def test_the_public_key_is_no_shared_secret(verify: Verify, issuer: Issuer) -> None:
    public = json.dumps(issuer.published[0]).encode()
    for secret in (issuer.key.as_pem(private=False), public):
        # Not by import_key, which refuses to take part in this.
        shared = OctKey(secret, secret)
        forged = issuer.sign(KEYCLOAK | {"iss": issuer.url}, key=shared, alg="HS256")
        with pytest.raises(InvalidToken, match="not signed"):
            await verify(forged)


async def test_only_the_algorithms_of_the_settings_count(verify: Verify, issuer: Issuer) -> None:
    claims = KEYCLOAK | {"iss": issuer.url}
    token = issuer.sign(claims, {"kid": "rsa"}, RSA, "PS256")
    await verify(token, algorithms=["PS256"])
    with pytest.raises(InvalidToken, match="not signed"):
        await verify(token)
    with pytest.raises(InvalidToken, match="not signed"):
        await verify(issuer.sign(claims), algorithms=["PS256"])


async def test_another_key_or_changed_claims_are_refused(verify: Verify, issuer: Issuer) -> None:
    claims = KEYCLOAK | {"iss": issuer.url}
    with pytest.raises(InvalidToken, match="not signed"):
        await verify(issuer.sign(claims, key=ECKey.generate_key("P-256")))
    header, _, signature = issuer.sign(claims).split(".")
    payload = issuer.sign(claims | {"sub": "admin"}).split(".")[1]
    with pytest.raises(InvalidToken, match="not signed"):
        await verify(f"{header}.{payload}.{signature}")


async def test_a_claim_named_twice_is_refused(verify: Verify, issuer: Issuer) -> None:
    text = json.dumps(KEYCLOAK | {"iss": issuer.url})[:-1] + ', "sub": "admin"}'
    header = issuer.sign({}).split(".")[0]
    with pytest.raises(InvalidToken, match="signed access token"):
        await verify(f"{header}.{urlsafe_b64encode(text.encode()).decode()}.AAAA")


async def test_an_issuer_that_is_away_is_no_verdict_on_its_tokens(
    verify: Verify, issuer: Issuer
) -> None:
    issuer.discovery["issuer"] = "https://other.example"
    with pytest.raises(IssuerUnavailable):
        await verify(issuer.sign(KEYCLOAK | {"iss": issuer.url}))


async def test_a_token_that_is_wrong_anyway_does_not_make_us_ask_its_issuer(
    verify: Verify, issuer: Issuer
) -> None:
    for claims in ({"aud": "other"}, {"exp": 1}, {"typ": "ID"}):
        with pytest.raises(InvalidToken):
            await verify(issuer.sign(KEYCLOAK | {"iss": issuer.url} | claims))
    assert not issuer.asked


@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
@example(data=None)
async def test_no_text_is_worse_than_an_invalid_token(
    verify: Verify, issuer: Issuer, data: st.DataObject | None
) -> None:
    if data is None:
        text = urlsafe_b64encode(b"[" * 5000).decode() + ".e30."
    else:
        good = issuer.sign(KEYCLOAK | {"iss": issuer.url})
        claims = st.dictionaries(
            st.sampled_from(["iss", "aud", "sub", "exp", "nbf", "typ", "scope", "azp", "tid"]),
            st.none() | st.integers() | st.floats() | st.text() | st.lists(st.text()),
        )
        text = data.draw(
            st.text()
            | st.binary().map(lambda raw: raw.decode("latin-1"))
            | st.builds(
                lambda at, text: good[:at] + text + good[at + 1 :],
                st.integers(0, len(good)),
                st.characters(),
            )
            | claims.map(lambda changes: issuer.sign(KEYCLOAK | {"iss": issuer.url} | changes))
        )
    with contextlib.suppress(InvalidToken):
        await verify(text)
