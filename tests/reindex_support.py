"""What the tests of reading stores again share: two models, and ways to wait and look."""

import asyncio
from collections import Counter
from collections.abc import Sequence

import asyncpg
from knowledge import job_worker, until_done, upload
from support import scope_of

import rag
from config.postgres import tenant_transaction
from rag.embedding_wire import Kind, Vector
from rag.jobs import enqueue
from rag.testing import InMemoryEmbedder

ACME = scope_of("acme")
DOCUMENTS = {f"{n}.md": f"annual leave number {n} " + f"part{n} " * n for n in range(5)}


class Gated(InMemoryEmbedder):
    """Answers so many texts, and the rest when the gate is open."""

    def __init__(self, model: str, after: int = 0, dimensions: int = 64) -> None:
        super().__init__(model=model, dimensions=dimensions)
        self.reached = asyncio.Event()
        self.gate = asyncio.Event()
        self.after = after

    async def embed(self, texts: Sequence[str], kind: Kind = "document") -> list[Vector]:
        if len(self.asked) >= self.after:
            self.reached.set()
            await self.gate.wait()
        return await super().embed(texts, kind)


def models(
    new: InMemoryEmbedder | None = None, old: InMemoryEmbedder | None = None
) -> rag.Embedders:
    """The model that stores are read with first, and `new`."""
    other = new or InMemoryEmbedder(model="new", dimensions=32)
    return rag.Embedders(old or InMemoryEmbedder(model="old"), {"new": other})


async def filled(
    pool: asyncpg.Pool, store: str, documents: dict[str, str] | None = None
) -> dict[str, str]:
    """Read documents into a store with the old model; return the files' ids by name."""
    ids = {}
    for name, text in (documents or DOCUMENTS).items():
        ids[name] = (await upload(pool, name, text)).id
        await rag.add_file(pool, ACME, store, ids[name])
    async with job_worker(pool, models()):
        await until_done(pool, store)
    return ids


async def reindex_of(pool: asyncpg.Pool, store: str) -> rag.Reindex:
    found = (await rag.get_store(pool, ACME, store)).reindex
    assert found
    return found


async def until_reindexed(pool: asyncpg.Pool, store: str) -> rag.Reindex:
    async with asyncio.timeout(60):
        while (found := await reindex_of(pool, store)).status == "in_progress":
            await asyncio.sleep(0.02)
    return found


async def read_again(
    pool: asyncpg.Pool, embedders: rag.Embedders, store: str, **how: object
) -> rag.Reindex:
    """Have a store read again, and return how that ended."""
    await rag.start_reindex(pool, embedders, ACME, store, **how)
    async with job_worker(pool, embedders):
        return await until_reindexed(pool, store)


async def sweep(pool: asyncpg.Pool, owner: asyncpg.Connection, embedders: rag.Embedders) -> None:
    """Do now what is done every minute."""
    async with tenant_transaction(pool, "acme") as con:
        await enqueue(con, "sweep_indexes")
    async with job_worker(pool, embedders), asyncio.timeout(20):
        while await owner.fetchval("SELECT count(*) FROM pgqueuer WHERE entrypoint LIKE 'sweep_%'"):
            await asyncio.sleep(0.02)


async def until_no_job(owner: asyncpg.Connection) -> None:
    """Wait until nobody builds an index, or is to."""
    async with asyncio.timeout(20):
        while await owner.fetchval("SELECT count(*) FROM pgqueuer WHERE entrypoint = 'reindex'"):
            await asyncio.sleep(0.02)


async def live_index(owner: asyncpg.Connection, store: str) -> int:
    id_: int = await owner.fetchval("SELECT id FROM indexes WHERE store_id = $1 AND live", store)
    return id_


async def files_in(owner: asyncpg.Connection, index: int) -> list[str]:
    rows = await owner.fetch(
        "SELECT filename FROM documents d JOIN files f ON f.id = d.file_id WHERE index_id = $1"
        " ORDER BY filename",
        index,
    )
    return [row["filename"] for row in rows]


async def assert_counted(owner: asyncpg.Connection, index: int) -> None:
    """The lexicon of an index is that of its chunks."""
    rows = await owner.fetch(
        "SELECT term_ids(terms) AS term FROM chunk_terms WHERE index_id = $1", index
    )
    found = await owner.fetch("SELECT term, df FROM lexicon WHERE index_id = $1", index)
    assert {row["term"]: row["df"] for row in found} == Counter(row["term"] for row in rows) != {}


async def assert_nothing_else(owner: asyncpg.Connection, index: int) -> None:
    """There is no row of another index."""
    for table in ("documents", "chunk_terms", "chunk_embeddings", "lexicon"):
        others = f"SELECT count(*) FROM {table} WHERE index_id <> $1"
        assert await owner.fetchval(others, index) == 0, table
    assert await owner.fetchval("SELECT count(*) FROM indexes WHERE id <> $1", index) == 0
    assert await owner.fetchval("SELECT count(*) FROM early_embeddings") == 0
    strays = "SELECT count(*) FROM chunks WHERE document NOT IN (SELECT id FROM documents)"
    assert await owner.fetchval(strays) == 0
