"""The application on real sockets, twice, with its stores and nothing else."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import asyncpg
import httpx
import pytest
import redis.asyncio
import uvicorn
from issuer_support import Issuer, play_issuer
from oauth_support import OTHER_AUDIENCE, Registered, Site

import auth
from config.postgres import migrate, open_pool
from config.settings import Settings
from gateway.app import create_app


@pytest.fixture(scope="session")
async def issuer() -> AsyncIterator[Issuer]:
    """A foreign issuer whose users act as client `portal` of `acme`."""
    async with play_issuer() as playing:
        yield playing


@pytest.fixture(scope="session")
async def database(postgres_server: str) -> AsyncIterator[str]:
    """A migrated database of the service."""
    owner = await asyncpg.connect(postgres_server)
    await owner.execute("CREATE DATABASE oauth_conformance")
    url = postgres_server.replace("/naru?", "/oauth_conformance?")
    await migrate(url, ["auth", "rag", "gateway"])
    yield url
    await owner.execute("DROP DATABASE oauth_conformance WITH (FORCE)")
    await owner.close()


def _settings(public_url: str, database: str, redis_url: str, data: Path, issuer: str) -> Settings:
    trusted = {"issuer": issuer, "audience": "naru", "client": "portal"}
    return Settings.model_validate(
        {
            "data_dir": data,
            "public_url": public_url,
            "database": {"url": database},
            "redis": {"url": redis_url},
            "auth": {
                "audiences": [OTHER_AUDIENCE],
                "issuers": [trusted | {"scopes": {"chat": ["agents"]}}],
            },
        }
    )


@asynccontextmanager
async def _replica(settings: Settings, listening: socket.socket) -> AsyncIterator[None]:
    app = create_app(settings, settings.data_dir / "no-embedding-worker.sock")
    config = uvicorn.Config(app, http="httptools", ws="none", log_level="warning")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    while not server.started:
        assert not serving.done(), "the application did not start"
        await asyncio.sleep(0.01)
    yield
    server.should_exit = True
    await serving


@pytest.fixture(scope="session")
async def site(
    database: str, redis_url: str, data_dir: Path, issuer: Issuer
) -> AsyncIterator[Site]:
    """Tenants `acme` and `rival`; clients are made by each test."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    urls = [f"http://127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    data = data_dir / "oauth"
    settings = _settings(urls[0], database, redis_url, data, issuer.url)
    async with AsyncExitStack() as stack:
        pool = await open_pool(database, size=2, role="naru_auth")
        identity = await stack.enter_async_context(pool)
        box = auth.SecretBox.load(settings.auth, data)
        for tenant in ("acme", "rival"):
            await auth.create_tenant(identity, tenant, tenant)
        await auth.create_client(identity, box, "acme", name="portal", client_id="portal")
        for listening in sockets:
            await stack.enter_async_context(_replica(settings, listening))
        cache = await stack.enter_async_context(redis.asyncio.from_url(redis_url))
        first, second = [
            await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=30))
            for url in urls
        ]
        keys = await auth.SigningKeys.load(identity, box, settings.auth)
        yield Site(urls[0], first, second, identity, box, keys, auth.Announcer(cache))


@pytest.fixture
async def client(site: Site) -> Registered:
    """A client of `acme` with the scopes `agents` and `inference`."""
    return await site.register()


@pytest.fixture
async def stranger(site: Site) -> Registered:
    """A client of another tenant."""
    return await site.register("rival")
