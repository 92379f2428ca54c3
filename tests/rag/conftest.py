"""A migrated database, opened as the service opens it, and a server with buckets."""

from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest
from bucket_support import BucketServer, play_bucket_server
from support import scope_of

import rag
from config import postgres
from rag.testing import InMemoryEmbedder


@pytest.fixture
async def pool(empty_database: str) -> AsyncIterator[asyncpg.Pool]:
    await postgres.migrate(empty_database, ["rag"])
    async with await postgres.open_pool(empty_database, size=8) as opened:
        yield opened


@pytest.fixture
async def owner(pool: asyncpg.Pool, empty_database: str) -> AsyncIterator[asyncpg.Connection]:
    """Sees every row of every tenant."""
    opened = await asyncpg.connect(empty_database)
    yield opened
    await opened.close()


@pytest.fixture
def embedder() -> InMemoryEmbedder:
    return InMemoryEmbedder()


@pytest.fixture
async def store(pool: asyncpg.Pool) -> str:
    """The id of an empty store of `acme`."""
    return (await rag.create_store(pool, scope_of(), name="handbook")).id


@pytest.fixture(scope="session")
def bucket_server() -> Iterator[BucketServer]:
    with play_bucket_server() as playing:
        yield playing
