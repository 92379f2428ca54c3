"""PostgreSQL away, or a standby: 503 with Retry-After, never a refusal, and no restart after it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest
from oauth_support import ENDPOINTS, GRANT, Registered, Site, error_of, eventually, prove, use

import auth

STATELESS = "/v1/models"
"""Wants the scope `inference`, and nothing from a store."""

Database = Callable[[str], AbstractAsyncContextManager[None]]


@pytest.fixture
async def changed(postgres_server: str, database: str) -> AsyncIterator[Database]:
    """Change the service's database for a while; every connection to it ends before and after."""
    name = urlsplit(database).path.removeprefix("/")
    owner = await asyncpg.connect(postgres_server)

    async def change(how: str) -> None:
        await owner.execute(f"ALTER DATABASE {name} {how}")
        await owner.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name
        )

    @asynccontextmanager
    async def changing(how: str) -> AsyncIterator[None]:
        await change(how)
        try:
            yield
        finally:
            await change("ALLOW_CONNECTIONS true")
            await change("RESET default_transaction_read_only")

    yield changing
    await owner.close()


def unavailable(answer: httpx.Response) -> bool:
    assert answer.status_code == 503, answer.text
    assert "www-authenticate" not in answer.headers
    return int(answer.headers["retry-after"]) >= 1


async def works(ask: Callable[[], Awaitable[httpx.Response]]) -> bool:
    return (await ask()).status_code == 200


async def test_a_store_that_is_away_is_no_refusal_and_is_found_again(
    site: Site, client: Registered, changed: Database
) -> None:
    token = await client.token(scope="inference")
    sessions = await client.token()
    key = await auth.create_key(site.identity, site.box, client.id)
    assert (await site.http.get(STATELESS, headers=bearer(token))).status_code == 200
    async with changed("ALLOW_CONNECTIONS false"):
        for endpoint in ENDPOINTS:
            for secret in (client.secret, "wrong"):
                form = GRANT | {"token": token}
                answer = await site.http.post(endpoint, data=form, auth=(client.id, secret))
                assert unavailable(answer)
                assert error_of(answer) == "temporarily_unavailable"
        assert (await site.http.get(STATELESS, headers=bearer(token))).status_code == 200
        for credential in (sessions, key.key):
            answer = await use(site.http, credential)
            assert unavailable(answer)
            assert answer.json()["error"]["code"] == "store_unavailable"
    assert await eventually(lambda: works(client.ask), 2)
    assert await eventually(lambda: works(lambda: use(site.http, key.key)), 2)


async def test_what_a_standby_can_not_store_is_no_fault_of_ours(
    site: Site, client: Registered, changed: Database
) -> None:
    token = await client.token()
    url = f"{site.issuer}/oauth/token"
    nonce = (await site.http.post(url, data=GRANT, auth=client.basic, headers=dpop(url))).headers
    async with changed("SET default_transaction_read_only = on"):
        assert await eventually(lambda: works(client.ask), 2)
        assert unavailable(await client.revoke(token))
        proof = dpop(url, nonce=nonce["dpop-nonce"])
        answer = await site.http.post(url, data=GRANT, auth=client.basic, headers=proof)
        assert unavailable(answer)
    assert await eventually(lambda: works(lambda: client.revoke(token)), 2)


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def dpop(url: str, **claims: str) -> dict[str, str]:
    return {"dpop": prove(url, **claims)}
