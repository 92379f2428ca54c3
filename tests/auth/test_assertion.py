"""`private_key_jwt`: RFC 7523 section 3 and RFC 10070, point by point."""

import asyncio
import json
import time
import uuid
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import ECKey, Key, OctKey, RSAKey
from joserfc.util import urlsafe_b64encode

import auth
from auth import assertion

ISSUER = "https://naru.example"
Ask = Callable[..., Awaitable[auth.OAuthAnswer]]
Send = Callable[..., Awaitable[auth.OAuthAnswer]]
NOW = int(time.time())
KEY = ECKey.generate_key("P-256", {"kid": "one"})
OTHER = ECKey.generate_key("P-256", {"kid": "one"})
RSA = RSAKey.generate_key(2048, {"kid": "rsa"})
REFUSED = {"error": "invalid_client", "error_description": "client authentication failed"}


def sign(key: Key = KEY, header: dict[str, Any] | None = None, **claims: Any) -> str:
    """A good assertion with these changes; a header member or claim of None is left out."""
    values = {
        "iss": "demo",
        "sub": "demo",
        "aud": ISSUER,
        "jti": uuid.uuid4().hex,
        "iat": NOW,
        "exp": NOW + 60,
        **claims,
    }
    members = {"alg": "ES256", "kid": "one"} | (header or {})
    return jws.serialize_compact(
        {name: value for name, value in members.items() if value is not None},
        json.dumps({name: value for name, value in values.items() if value is not None}),
        key,
        algorithms=[members["alg"]],
    )


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is `NOW`, however long ago this module was collected."""
    monkeypatch.setattr(assertion, "time", SimpleNamespace(time=lambda: float(NOW)))


@pytest.fixture
async def send(ask: Ask, pool: asyncpg.Pool) -> Send:
    """Ask for a token with an assertion, as the client that registered `KEY` and `RSA`."""
    keys = [dict(key.as_dict(private=False)) for key in (KEY, RSA)]
    await pool.execute(
        "UPDATE clients SET auth_methods = '{private_key_jwt}', assertion_algorithms = '{ES256}',"
        " jwks = $1::text::jsonb",
        json.dumps({"keys": keys}),
    )

    async def ask_with(text: str, **parameters: str | None) -> auth.OAuthAnswer:
        named = {"client_id": None, "client_secret": None, "client_assertion_type": assertion.TYPE}
        return await ask(client_assertion=text, **named | parameters)

    return ask_with


async def test_a_good_assertion_gets_a_token(send: Send) -> None:
    assert (await send(sign())).status == 200
    assert (await send(sign(), client_id="demo")).status == 200


@pytest.mark.parametrize("typ", ["client-authentication+jwt", "Client-Authentication+JWT"])
async def test_the_type_of_rfc_10070_is_accepted(send: Send, typ: str) -> None:
    assert (await send(sign(header={"typ": typ}))).status == 200


async def test_an_audience_of_one_in_a_list_is_one(send: Send) -> None:
    assert (await send(sign(aud=[ISSUER]))).status == 200


@pytest.mark.parametrize(
    "claims",
    [
        *({"iss": "other"}, {"sub": "other"}, {"iss": None}, {"sub": None}),
        *({"aud": None}, {"aud": f"{ISSUER}/oauth/token"}, {"aud": f"{ISSUER}/"}, {"aud": []}),
        *({"aud": [ISSUER, "https://other.example"]}, {"aud": [ISSUER, ISSUER]}),
        *({"exp": None}, {"exp": 1}, {"exp": "soon"}, {"exp": NOW + 3600}, {"exp": NOW + 310}),
        *({"nbf": NOW + 600}, {"iat": NOW + 600}),
        *({"jti": None}, {"jti": ""}, {"jti": "x" * 257}, {"jti": 7}),
    ],
)
async def test_wrong_claims_are_refused(send: Send, claims: dict[str, Any]) -> None:
    answer = await send(sign(**claims))
    assert (answer.status, answer.body) == (401, REFUSED)


@pytest.mark.parametrize(
    "header",
    [
        *({"typ": "JWT"}, {"typ": "at+jwt"}, {"typ": "dpop+jwt"}, {"typ": 1}),
        *({"kid": "another"}, {"kid": 1}),
    ],
)
async def test_wrong_headers_are_refused(send: Send, header: dict[str, Any]) -> None:
    parts = sign().split(".")
    members = {"alg": "ES256", "kid": "one"} | header
    encoded = urlsafe_b64encode(json.dumps(members).encode()).decode()
    signature = jws.JWSRegistry.algorithms["ES256"].sign(f"{encoded}.{parts[1]}".encode(), KEY)
    text = f"{encoded}.{parts[1]}.{urlsafe_b64encode(signature).decode()}"
    assert (await send(text)).status == 401


async def test_only_registered_keys_count(send: Send) -> None:
    assert (await send(sign(OTHER))).status == 401
    own = dict(OTHER.as_dict(private=False))
    assert (await send(sign(OTHER, {"jwk": own}))).status == 401


async def test_only_the_clients_algorithms_count(send: Send) -> None:
    rsa = {"alg": "RS256", "kid": "rsa"}
    assert (await send(sign(RSA, rsa))).status == 401


async def test_the_public_key_is_no_shared_secret(send: Send) -> None:
    secret = OctKey.import_key(json.dumps(KEY.as_dict(private=False)))
    assert (await send(sign(secret, {"alg": "HS256"}))).status == 401
    assert (await send(sign().rpartition(".")[0] + ".")).status == 401


async def test_without_a_kid_the_fitting_key_is_found(send: Send) -> None:
    assert (await send(sign(header={"kid": None}))).status == 200


async def test_an_assertion_counts_once_over_all_replicas(send: Send) -> None:
    text = sign()
    answers = await asyncio.gather(*(send(text) for _ in range(5)))
    assert sorted(answer.status for answer in answers) == [200, 401, 401, 401, 401]


async def test_a_refused_assertion_is_not_used_up(send: Send, pool: asyncpg.Pool) -> None:
    await send(sign(aud="https://other.example"))
    assert await pool.fetchval("SELECT count(*) FROM used_once") == 0


@pytest.mark.parametrize("kind", [None, "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"])
async def test_the_type_of_assertion_must_be_named(send: Send, kind: str | None) -> None:
    answer = await send(sign(), client_assertion_type=kind)
    assert (answer.status, answer.body["error"] if answer.body else "") == (400, "invalid_request")


async def test_another_client_id_in_the_body_is_refused(send: Send) -> None:
    answer = await send(sign(), client_id="other")
    assert (answer.status, answer.body["error"] if answer.body else "") == (400, "invalid_request")


async def test_a_client_that_may_not_use_assertions_is_refused(
    send: Send, pool: asyncpg.Pool
) -> None:
    await pool.execute("UPDATE clients SET auth_methods = '{client_secret_post}'")
    assert (await send(sign())).status == 401


async def test_unknown_clients_and_bad_signatures_look_alike(send: Send) -> None:
    unknown = await send(sign(iss="nobody", sub="nobody"))
    assert unknown == await send(sign(OTHER))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(text=st.text(max_size=60) | st.from_regex(r"\A[\w-]{0,30}\.[\w-]{0,30}\.[\w-]{0,30}\Z"))
def test_any_text_names_some_client(text: str) -> None:
    assert isinstance(assertion.claimed_client(text), str)
