"""The token endpoint on the real PostgreSQL: RFC 6749 sections 4.4, 5.1 and 5.2."""

import base64
import dataclasses
from collections.abc import Awaitable, Callable
from urllib.parse import urlencode

import asyncpg
import pytest
from auth_support import bearer, make_verifier
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import auth
from config.settings import AuthSettings

Ask = Callable[..., Awaitable[auth.OAuthAnswer]]
NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}


async def test_a_token_request_is_answered_as_section_5_1_says(
    ask: Ask, verifier: auth.Verifier
) -> None:
    answer = await ask()
    assert (answer.status, answer.headers) == (200, NO_STORE)
    token = answer.body.pop("access_token")
    assert answer.body == {"token_type": "Bearer", "expires_in": 900, "scope": "inference agents"}
    scope = await verifier.verify(bearer(token))
    assert (scope.tenant, scope.client, scope.key) == ("acme", "demo", None)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "OPTIONS", "post"])
async def test_other_methods_are_405_with_allow(ask: Ask, method: str) -> None:
    answer = await ask(method=method)
    assert (answer.status, answer.headers["Allow"]) == (405, "POST")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"grant_type": None}, "invalid_request"),
        ({"grant_type": ""}, "invalid_request"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": "refresh_token"}, "unsupported_grant_type"),
        ({"grant_type": "Client_Credentials"}, "unsupported_grant_type"),
        ({"grant_type": '한글"\\'}, "unsupported_grant_type"),
        ({"body": b""}, "invalid_request"),
        (
            {"body": b"grant_type=client_credentials&grant_type=client_credentials"},
            "invalid_request",
        ),
        ({"body": b"grant_type=%00"}, "invalid_request"),
        ({"body": b"a" * 65_537}, "invalid_request"),
        ({"query": b"client_secret=x"}, "invalid_request"),
        ({"headers": {"content-type": "application/json"}}, "invalid_request"),
        ({"resource": "https://other.example"}, "invalid_target"),
        ({"resource": "https://naru.example//"}, "invalid_target"),
        ({"resource": "https://naru.example/?a"}, "invalid_target"),
        ({"scope": "admin"}, "invalid_scope"),
        ({"scope": "agents admin"}, "invalid_scope"),
        ({"scope": "nonsense"}, "invalid_scope"),
        ({"scope": "agents  inference"}, "invalid_scope"),
        ({"scope": " agents"}, "invalid_scope"),
        ({"scope": "agents\n"}, "invalid_scope"),
        ({"scope": "agents\tinference"}, "invalid_scope"),
        ({"scope": 'agents"'}, "invalid_scope"),
        ({"scope": "한글"}, "invalid_scope"),
    ],
)
async def test_errors_are_answered_as_section_5_2_says(
    ask: Ask, change: dict[str, object], error: str
) -> None:
    answer = await ask(**change)
    assert (answer.status, answer.headers) == (400, NO_STORE)
    assert answer.body["error"] == error
    described = str(answer.body["error_description"])
    assert described.isascii()
    assert described.isprintable()
    assert set(answer.body) == {"error", "error_description"}


@pytest.mark.parametrize(
    ("asked", "granted"),
    [
        (None, "inference agents"),
        ("", "inference agents"),
        ("agents", "agents"),
        ("agents inference", "inference agents"),
        ("agents agents", "agents"),
    ],
)
async def test_the_scope_granted_is_exactly_what_was_asked_for(
    ask: Ask, verifier: auth.Verifier, asked: str | None, granted: str
) -> None:
    answer = await ask(scope=asked)
    assert answer.body["scope"] == granted
    scope = await verifier.verify(bearer(answer.body["access_token"]))
    assert scope.scopes == set(granted.split())


async def test_a_request_without_scope_gets_the_clients_default(
    ask: Ask, pool: asyncpg.Pool
) -> None:
    await pool.execute("UPDATE clients SET default_scopes = '{agents}'")
    assert (await ask()).body["scope"] == "agents"
    assert (await ask(scope="inference")).body["scope"] == "inference"
    await pool.execute("UPDATE clients SET default_scopes = '{}'")
    assert (await ask()).body["error"] == "invalid_scope"


@pytest.mark.parametrize("resource", ["https://naru.example", "https://naru.example/"])
async def test_the_audience_may_be_named_as_resource(
    ask: Ask, verifier: auth.Verifier, resource: str
) -> None:
    answer = await ask(resource=resource)
    assert answer.status == 200
    assert (await verifier.verify(bearer(answer.body["access_token"]))).client == "demo"


async def test_every_resource_must_be_the_audience(ask: Ask, client: auth.NewClient) -> None:
    pairs = [("grant_type", "client_credentials"), ("resource", "https://naru.example")]
    same = urlencode([*pairs, pairs[1]]).encode()
    mixed = urlencode([*pairs, ("resource", "https://other.example")]).encode()
    basic = f"demo:{client.client_secret}"
    assert (await ask(basic=basic, body=same)).status == 200
    assert (await ask(basic=basic, body=mixed)).body["error"] == "invalid_target"


async def test_a_failing_store_is_no_refusal(ask: Ask, pool: asyncpg.Pool) -> None:
    await pool.close()
    with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError)):
        await ask()


@pytest.mark.parametrize("ttl_s", [0, -1, 3601])
def test_tokens_live_at_most_an_hour(server: auth.AuthorizationServer, ttl_s: int) -> None:
    with pytest.raises(ValueError, match="1 to 3600 seconds"):
        dataclasses.replace(server, ttl_s=ttl_s)


async def test_a_token_survives_a_restart(
    ask: Ask, pool: asyncpg.Pool, box: auth.SecretBox
) -> None:
    token = (await ask()).body["access_token"]
    keys = await auth.SigningKeys.load(pool, box, AuthSettings())
    restarted = make_verifier(pool, box, keys)
    assert (await restarted.verify(bearer(token))).client == "demo"


_NAMES = st.sampled_from(
    ["grant_type", "client_id", "client_secret", "scope", "resource", "client_assertion", "x"]
)
_VALUES = st.sampled_from(["client_credentials", "demo", "agents", ""]) | st.text(max_size=20)
_FORMS = st.lists(st.tuples(_NAMES, _VALUES), max_size=6).map(
    lambda pairs: urlencode(pairs, errors="surrogatepass").encode()
)
_BASIC = st.binary(max_size=40).map(lambda raw: "Basic " + base64.b64encode(raw).decode())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    body=st.one_of(_FORMS, st.binary(max_size=200)),
    query=st.one_of(st.just(b""), _FORMS, st.binary(max_size=50)),
    authorization=st.one_of(st.none(), _BASIC, st.text(max_size=40)),
)
@example(body=b"grant_type=client_credentials", query=b"", authorization="Basic OmE=")
async def test_any_request_is_refused_in_good_order(
    server: auth.AuthorizationServer, body: bytes, query: bytes, authorization: str | None
) -> None:
    headers = [("content-type", "application/x-www-form-urlencoded")]
    if authorization is not None:
        headers.append(("authorization", authorization))
    answer = await server.token(auth.OAuthRequest("POST", tuple(headers), query, body))
    assert answer.status in {400, 401, 429}
    assert answer.body
    assert answer.body.keys() == {"error", "error_description"}
    assert answer.headers["Cache-Control"] == "no-store"
