"""Guessing a secret is slowed down (RFC 6749 section 2.3.1), and locks nobody out."""

import httpx
import redis.asyncio
from oauth_support import ENDPOINTS, GRANT, Registered, Site, error_of

FAILURES = 30


async def guess(http: httpx.AsyncClient, client_id: str, endpoint: str = ENDPOINTS[0]) -> int:
    form = GRANT | {"token": "x"}
    answer = await http.post(endpoint, data=form, auth=(client_id, "wrong"))
    if answer.status_code == 429:
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        assert error_of(answer) == "invalid_client"
    return answer.status_code


async def guess_often(site: Site, client_id: str) -> list[int]:
    """Fail as often as nobody minds, on every replica and endpoint in turn."""
    return [
        await guess((site.http, site.other)[turn % 2], client_id, ENDPOINTS[turn % 3])
        for turn in range(FAILURES)
    ]


async def test_failures_are_told_to_wait_on_every_replica_and_endpoint(
    client: Registered,
) -> None:
    site = client.site
    assert await guess_often(site, client.id) == [401] * FAILURES
    for http in (site.http, site.other):
        for endpoint in ENDPOINTS:
            assert await guess(http, client.id, endpoint) == 429


async def test_right_credentials_always_succeed(client: Registered) -> None:
    await guess_often(client.site, client.id)
    assert await guess(client.site.http, client.id) == 429
    assert (await client.ask()).status_code == 200
    assert (await client.introspect("x")).status_code == 200


async def test_others_are_not_affected(client: Registered, stranger: Registered) -> None:
    await guess_often(client.site, client.id)
    assert await guess(client.site.http, client.id) == 429
    assert await guess(client.site.http, stranger.id) == 401
    assert (await stranger.ask()).status_code == 200


async def test_an_unknown_client_is_treated_alike(site: Site) -> None:
    assert await guess_often(site, "no-such-client") == [401] * FAILURES
    assert await guess(site.http, "no-such-client") == 429


async def test_success_is_not_counted(client: Registered) -> None:
    for _ in range(FAILURES + 5):
        assert (await client.ask()).status_code == 200
    assert await guess(client.site.http, client.id) == 401


async def test_redis_holds_neither_names_nor_addresses(client: Registered, redis_url: str) -> None:
    await guess(client.site.http, client.id)
    async with redis.asyncio.from_url(redis_url) as cache:
        keys = [key async for key in cache.scan_iter()]
        held = b" ".join([*keys, *filter(None, await cache.mget(keys))])
    assert client.id.encode() not in held
    assert b"127.0.0.1" not in held
