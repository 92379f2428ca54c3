"""A migrated database, and ways to fill it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg
import pytest

import rag
from config import postgres
from config.settings import RetrievalSettings
from rag.embed import Embedder
from rag.testing import InMemoryEmbedder
from support import scope_of

Ingest = Callable[..., Awaitable[list[rag.StoreFile]]]


@pytest.fixture
async def pool(empty_database: str) -> AsyncIterator[asyncpg.Pool]:
    await postgres.migrate(empty_database, ["rag"])
    async with await postgres.open_pool(empty_database, size=8) as opened:
        yield opened


@pytest.fixture
def embedder() -> InMemoryEmbedder:
    return InMemoryEmbedder()


async def parts_of(data: bytes) -> AsyncIterator[bytes]:
    yield data


@asynccontextmanager
async def job_worker(
    pool: asyncpg.Pool, embedder: Embedder, settings: RetrievalSettings | None = None
) -> AsyncIterator[None]:
    """The job worker, running."""
    stop = asyncio.Event()
    run = rag.run_jobs(pool, embedder, settings or RetrievalSettings(), stop)
    task = asyncio.create_task(run)
    yield
    stop.set()
    await asyncio.wait_for(task, 10)


async def until_done(pool: asyncpg.Pool, store_id: str, *, tenant: str = "acme") -> None:
    async with asyncio.timeout(60):
        while (await rag.get_store(pool, scope_of(tenant), store_id)).counts.in_progress:
            await asyncio.sleep(0.02)


@pytest.fixture
def ingest(pool: asyncpg.Pool, embedder: InMemoryEmbedder) -> Ingest:
    """Upload texts by name, attach them to a store and read them."""

    async def run(
        store_id: str, files: dict[str, str | bytes], *, tenant: str = "acme", **options: object
    ) -> list[rag.StoreFile]:
        scope = scope_of(tenant)
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            file = await rag.create_file(
                pool, scope, filename=name, purpose="assistants", parts=parts_of(data)
            )
            await rag.add_file(pool, scope, store_id, file.id)
        async with job_worker(pool, options.get("embedder") or embedder):
            await until_done(pool, store_id, tenant=tenant)
        return await rag.list_store_files(pool, scope, store_id, limit=1000, order="asc")

    return run
