"""What tests of agents share: models, and agents to ask in this process."""

import uuid
from collections.abc import AsyncIterator

import asyncpg
import pytest
from desk import Desk, open_desk
from upstream_support import Upstream, play_upstream

from config.masking import MaskingSettings
from config.postgres import migrate, open_pool
from gateway.generation.http1 import HttpClient
from gateway.generation.models import Models
from gateway.govern.governor import Governor
from gateway.govern.masking.masking import Masking
from rag.testing import InMemoryEmbedder


@pytest.fixture
async def models() -> AsyncIterator[Models]:
    """`default` alone."""
    async with HttpClient() as http:
        yield Models({}, {}, {}, http, InMemoryEmbedder(), Governor(), Masking(MaskingSettings()))


@pytest.fixture(scope="session")
async def upstream() -> AsyncIterator[Upstream]:
    async with play_upstream() as playing:
        yield playing


@pytest.fixture(scope="session")
async def desk(postgres_server: str, upstream: Upstream) -> AsyncIterator[Desk]:
    """One for all tests: each asks in a session of its own."""
    owner = await asyncpg.connect(postgres_server)
    await owner.execute("CREATE DATABASE desk")
    url = postgres_server.replace("/naru?", "/desk?")
    await migrate(url, ["auth", "rag", "gateway"])
    seeing = await asyncpg.connect(url)
    await seeing.execute("INSERT INTO tenants (id, name) VALUES ('acme', 'acme')")
    await seeing.execute(
        "INSERT INTO clients (id, tenant, name, scopes, default_scopes)"
        " VALUES ('app', 'acme', 'app', '{agents}', '{agents}')"
    )
    await seeing.close()
    async with await open_pool(url, size=6) as pool, open_desk(pool, upstream) as opened:
        yield opened
    await owner.execute("DROP DATABASE desk WITH (FORCE)")
    await owner.close()


@pytest.fixture
def session() -> str:
    """The id of a session that nobody has used."""
    return f"s-{uuid.uuid4().hex[:8]}"
