"""The introspection endpoint, RFC 7662."""

import datetime as dt
from typing import Any

import httpx
import pytest
from oauth_support import HOLDER, Registered, Site, error_of, parts_of

import auth
from auth.token import issue

INACTIVE = {"active": False}
PRIVILEGED = ("agents", "admin")


async def describe(caller: Registered, token: str, **parameters: str) -> dict[str, Any]:
    answer = await caller.introspect(token, **parameters)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    return dict(answer.json())


async def made_by_hand(client: Registered, **changes: Any) -> str:
    site = client.site
    found = await auth.find_client(site.identity, client.id)
    assert found is not None
    values: dict[str, Any] = {"issuer": site.issuer, "audience": site.issuer, "ttl_s": 60}
    return issue(site.keys, client=found, scope="agents", **(values | changes))


async def test_rfc7662_2_2_a_token_that_counts_is_described(client: Registered) -> None:
    token = await client.token()
    _, claims = parts_of(token)
    named = ("scope", "client_id", "exp", "iat", "sub", "aud", "iss", "jti", "tenant")
    assert await describe(client, token) == {
        "active": True,
        "token_type": "Bearer",
        **{name: claims[name] for name in named},
    }


async def test_rfc9449_6_2_a_bound_token_says_to_which_key(client: Registered) -> None:
    described = await describe(client, await made_by_hand(client, jkt=HOLDER.thumbprint()))
    assert described["token_type"] == "DPoP"
    assert described["cnf"] == {"jkt": HOLDER.thumbprint()}


async def test_a_key_is_described_like_a_token_of_its_client(client: Registered) -> None:
    key = await auth.create_key(client.site.identity, client.site.box, client.id)
    described = await describe(client, key.key)
    assert described["active"] is True
    assert described["client_id"] == described["sub"] == client.id
    assert described["scope"] == "inference agents"
    assert described["tenant"] == "acme"
    assert "exp" not in described


@pytest.mark.parametrize(
    "token", ["unknown", "a.b.c", "sk-naru-unknown", "한글", "x" * 60_000, "sk-naru-" + "a" * 43]
)
async def test_rfc7662_2_2_inactive_says_nothing_else(client: Registered, token: str) -> None:
    assert await describe(client, token) == INACTIVE


async def test_rfc7662_2_2_what_does_not_count_is_inactive(client: Registered) -> None:
    for token in (
        await made_by_hand(client, ttl_s=-1),
        await made_by_hand(client, issuer="https://elsewhere.example"),
        await made_by_hand(client, audience="https://elsewhere.example"),
        (await client.token())[:-4] + "AAAA",
    ):
        assert await describe(client, token) == INACTIVE


async def test_a_token_for_another_resource_of_ours_is_active(client: Registered) -> None:
    token = await client.token(resource="https://other-api.example")
    assert (await describe(client, token))["aud"] == "https://other-api.example"


async def test_what_is_revoked_is_inactive_at_once_on_every_replica(client: Registered) -> None:
    key = await auth.create_key(client.site.identity, client.site.box, client.id)
    for credential in (await client.token(), key.key):
        assert (await describe(client, credential))["active"] is True
        await client.revoke(credential)
        for http in (client.site.http, client.site.other):
            answer = await http.post(
                "/oauth/introspect", data={"token": credential}, auth=client.basic
            )
            assert answer.json() == INACTIVE


async def test_tokens_and_keys_of_a_disabled_client_are_inactive(site: Site) -> None:
    admin = await site.register(scopes=PRIVILEGED, role="admin")
    client = await site.register()
    key = await auth.create_key(site.identity, site.box, client.id)
    credentials = (await client.token(), key.key)
    for credential in credentials:
        assert (await describe(admin, credential))["active"] is True
    await site.identity.execute(
        "UPDATE clients SET disabled_at = $2 WHERE id = $1", client.id, dt.datetime.now(dt.UTC)
    )
    for credential in credentials:
        assert await describe(admin, credential) == INACTIVE


async def test_a_token_of_a_generation_before_is_inactive(client: Registered) -> None:
    token = await client.token()
    await client.site.take_away(client.id)
    assert await describe(client, token) == INACTIVE


@pytest.mark.parametrize(
    ("tenant", "role", "scopes", "sees"),
    [
        ("acme", "editor", ("agents",), False),
        ("acme", "editor", PRIVILEGED, False),
        ("acme", "viewer", PRIVILEGED, False),
        ("acme", "admin", ("agents",), False),
        ("acme", "admin", PRIVILEGED, True),
        ("rival", "admin", PRIVILEGED, False),
        ("rival", "operator", PRIVILEGED, True),
        ("rival", "operator", ("agents",), False),
    ],
)
async def test_rfc7662_4_a_caller_sees_only_what_it_may(
    client: Registered, tenant: str, role: str, scopes: tuple[str, ...], sees: bool
) -> None:
    caller = await client.site.register(tenant, scopes, role=role)
    key = await auth.create_key(client.site.identity, client.site.box, client.id)
    for credential in (await client.token(), key.key):
        described = await describe(caller, credential)
        assert described["active"] is sees
        if not sees:
            assert described == INACTIVE


@pytest.mark.parametrize("hint", ["access_token", "refresh_token", "unheard-of"])
async def test_rfc7662_2_1_any_hint_will_do(client: Registered, hint: str) -> None:
    described = await describe(client, await client.token(), token_type_hint=hint)
    assert described["active"] is True


async def test_rfc7662_2_1_the_token_is_required(client: Registered) -> None:
    answer = await client.site.http.post("/oauth/introspect", data={"x": "y"}, auth=client.basic)
    assert (answer.status_code, error_of(answer)) == (400, "invalid_request")


async def test_rfc7662_2_3_who_does_not_authenticate_learns_nothing(client: Registered) -> None:
    form = {"token": await client.token()}
    post = client.site.http.post
    answers: list[httpx.Response] = [
        await post("/oauth/introspect", data=form),
        await post("/oauth/introspect", data=form, auth=(client.id, "wrong")),
        await post(
            "/oauth/introspect", data=form, headers={"authorization": f"Bearer {form['token']}"}
        ),
    ]
    for answer in answers:
        assert (answer.status_code, error_of(answer)) == (401, "invalid_client")
