"""The revocation endpoint, RFC 7009, and how soon every replica knows."""

import uuid

import asyncpg
import httpx
import pytest
import redis.asyncio
from oauth_support import Registered, Site, error_of, eventually, parts_of, use

import auth
from auth.token import issue
from config.settings import AuthSettings

PRIVILEGED = ("agents", "admin")


async def works(http: httpx.AsyncClient, credential: str) -> bool:
    return (await use(http, credential)).status_code == 200


async def dies_everywhere(site: Site, credential: str, within_s: float = 1.0) -> bool:
    async def refused() -> bool:
        return not (await works(site.http, credential) or await works(site.other, credential))

    return await eventually(refused, within_s)


async def known_everywhere(site: Site, credential: str) -> None:
    """Have both replicas remember it as good."""
    assert await works(site.http, credential)
    assert await works(site.other, credential)


@pytest.fixture
async def key(client: Registered) -> auth.NewKey:
    return await auth.create_key(client.site.identity, client.site.box, client.id)


async def test_rfc7009_2_a_client_revokes_its_token_on_every_replica(client: Registered) -> None:
    token, another = await client.token(), await client.token()
    await known_everywhere(client.site, token)
    answer = await client.revoke(token)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert await dies_everywhere(client.site, token)
    assert await works(client.site.other, another)


async def test_a_client_revokes_its_own_api_key(client: Registered, key: auth.NewKey) -> None:
    await known_everywhere(client.site, key.key)
    assert (await client.revoke(key.key)).status_code == 200
    assert await dies_everywhere(client.site, key.key)


async def is_left_alone(client: Registered, token: str, key: auth.NewKey) -> bool:
    revoked = await client.site.identity.fetchval(
        "SELECT count(*) FROM revocations WHERE subject = ANY($1)",
        [parts_of(token)[1]["jti"], key.key_id],
    )
    used = [await works(client.site.other, credential) for credential in (token, key.key)]
    return revoked == 0 and all(used)


@pytest.mark.parametrize(
    ("role", "scopes"),
    [("editor", PRIVILEGED), ("admin", ("agents",)), ("operator", ("agents",))],
)
async def test_rfc7009_2_1_what_is_a_colleagues_is_refused(
    client: Registered, key: auth.NewKey, role: str, scopes: tuple[str, ...]
) -> None:
    colleague = await client.site.register(role=role, scopes=scopes)
    token = await client.token()
    for credential in (token, key.key):
        answer = await colleague.revoke(credential)
        assert (answer.status_code, error_of(answer)) == (400, "invalid_grant")
        assert answer.headers["cache-control"] == "no-store"
    assert await is_left_alone(client, token, key)


@pytest.mark.parametrize(("role", "scopes"), [("editor", ("agents",)), ("admin", PRIVILEGED)])
async def test_rfc7009_2_2_what_is_another_tenants_is_answered_as_no_token_is(
    client: Registered, key: auth.NewKey, role: str, scopes: tuple[str, ...]
) -> None:
    stranger = await client.site.register("rival", scopes, role=role)
    token = await client.token()
    for credential in (token, key.key):
        answer = await stranger.revoke(credential)
        assert answer.status_code == 200
        assert answer.content == (await client.revoke("nothing at all")).content
    assert await is_left_alone(client, token, key)


@pytest.mark.parametrize(("tenant", "role"), [("acme", "admin"), ("rival", "operator")])
async def test_who_administers_the_tenant_revokes_anothers(
    client: Registered, key: auth.NewKey, tenant: str, role: str
) -> None:
    caller = await client.site.register(tenant, PRIVILEGED, role=role)
    for credential in (await client.token(), key.key):
        await known_everywhere(client.site, credential)
        assert (await caller.revoke(credential)).status_code == 200
        assert await dies_everywhere(client.site, credential)


async def test_an_admin_revokes_nothing_of_an_operators(site: Site) -> None:
    admin = await site.register(scopes=PRIVILEGED, role="admin")
    operator = await site.register(role="operator")
    token = await operator.token()
    answer = await admin.revoke(token)
    assert (answer.status_code, error_of(answer)) == (400, "invalid_grant")
    assert await works(site.other, token)


@pytest.mark.parametrize(
    "token", ["unknown", "a.b.c", "sk-naru-unknown", "한글", "x" * 60_000, " ", "{}", "é.é.é"]
)
async def test_rfc7009_2_2_a_token_that_is_none_is_answered_200(
    client: Registered, token: str
) -> None:
    assert (await client.revoke(token)).status_code == 200


async def test_rfc7009_2_2_an_expired_or_revoked_token_is_answered_200(
    client: Registered,
) -> None:
    site, found = client.site, await auth.find_client(client.site.identity, client.id)
    assert found is not None
    expired = issue(
        site.keys, issuer=site.issuer, audience=site.issuer, client=found, scope="agents", ttl_s=-9
    )
    token = await client.token()
    for revoked in (expired, token, token):
        assert (await client.revoke(revoked)).status_code == 200


@pytest.mark.parametrize("hint", ["access_token", "refresh_token", "api_key", "unheard-of", ""])
async def test_rfc7009_2_1_any_hint_will_do(client: Registered, hint: str) -> None:
    token = await client.token()
    assert (await client.revoke(token, token_type_hint=hint)).status_code == 200
    assert await dies_everywhere(client.site, token)


async def test_rfc7009_2_1_the_token_is_required(client: Registered) -> None:
    answer = await client.site.http.post("/oauth/revoke", data={"x": "y"}, auth=client.basic)
    assert (answer.status_code, error_of(answer)) == (400, "invalid_request")


async def test_rfc7009_2_1_the_client_is_authenticated_first(client: Registered) -> None:
    token = await client.token()
    answer = await client.site.http.post("/oauth/revoke", data={"token": token})
    assert (answer.status_code, error_of(answer)) == (401, "invalid_client")
    assert await works(client.site.http, token)


async def test_a_disabled_client_is_refused_on_every_replica(
    client: Registered, key: auth.NewKey
) -> None:
    token = await client.token()
    for credential in (token, key.key):
        await known_everywhere(client.site, credential)
    await client.site.take_away(client.id, "disabled_at = now()")
    for credential in (token, key.key):
        assert await dies_everywhere(client.site, credential)


async def test_tokens_from_before_a_right_was_taken_away_are_refused(client: Registered) -> None:
    token = await client.token()
    await known_everywhere(client.site, token)
    await client.site.take_away(client.id)
    assert await dies_everywhere(client.site, token)
    assert await works(client.site.http, await client.token())


async def test_what_is_revoked_without_an_announcement_is_refused_within_five_seconds(
    client: Registered,
) -> None:
    """A message may be lost: PostgreSQL is polled all the same."""
    token = await client.token()
    await known_everywhere(client.site, token)
    await client.site.identity.execute(
        "INSERT INTO revocations (kind, subject, expires_at)"
        " VALUES ('token', $1, now() + interval '1 hour')",
        parts_of(token)[1]["jti"],
    )
    assert await dies_everywhere(client.site, token, within_s=5.0)


async def test_a_wiped_redis_unrevokes_nothing(client: Registered, redis_url: str) -> None:
    token = await client.token()
    await client.revoke(token)
    assert await dies_everywhere(client.site, token)
    async with redis.asyncio.from_url(redis_url) as cache:
        await cache.flushall()
    assert not await works(client.site.http, token)
    assert not await works(client.site.other, token)


async def test_a_signing_key_that_was_removed_verifies_nothing(client: Registered) -> None:
    """The emergency: tokens of the key die everywhere, and new ones are signed with another."""
    site, token = client.site, await client.token()
    await known_everywhere(site, token)
    kid = str(parts_of(token)[0]["kid"])
    assert await auth.remove_signing_key(site.identity, site.box, AuthSettings(), kid)
    await site.announcer.announce()
    assert await dies_everywhere(site, token, within_s=5.0)
    await site.keys.refresh()
    fresh = await client.token()
    assert parts_of(fresh)[0]["kid"] != kid
    await known_everywhere(site, fresh)


async def test_revoking_twice_records_once(site: Site, client: Registered) -> None:
    token = await client.token()
    await client.revoke(token)
    await client.revoke(token)
    rows: list[asyncpg.Record] = await site.identity.fetch(
        "SELECT * FROM revocations WHERE subject = $1", parts_of(token)[1]["jti"]
    )
    assert len(rows) == 1
    assert uuid.UUID(rows[0]["subject"])
