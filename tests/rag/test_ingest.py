"""Whatever happens while documents are read: nothing is lost, doubled or half there."""

import asyncio
from collections.abc import Sequence

import asyncpg
import pytest
from knowledge import fill, job_worker, pdf_of, until_done, upload
from support import scope_of

import rag
from config.postgres import load_queries, open_pool, tenant_transaction
from config.settings import RetrievalSettings
from rag import documents, job_queue, prepare, watch
from rag.embedding_wire import Kind, Vector
from rag.jobs import enqueue
from rag.testing import InMemoryEmbedder

ACME = scope_of("acme")


class GatedEmbedder(InMemoryEmbedder):
    """Waits before it answers, so that a test can act while a document is being read."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = asyncio.Event()
        self.gate = asyncio.Event()

    async def embed(self, texts: Sequence[str], kind: Kind = "document") -> list[Vector]:
        self.reached.set()
        await self.gate.wait()
        return await super().embed(texts, kind)


class FailingEmbedder(InMemoryEmbedder):
    """Fails the first times it is asked."""

    def __init__(self, *errors: Exception) -> None:
        super().__init__()
        self.errors = list(errors)

    async def embed(self, texts: Sequence[str], kind: Kind = "document") -> list[Vector]:
        if self.errors:
            raise self.errors.pop(0)
        return await super().embed(texts, kind)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "_PAUSE_S", 0.01)
    monkeypatch.setattr(watch, "_LOOK_S", 0.05)
    monkeypatch.setattr(job_queue, "_PAUSE_S", 0.01)
    monkeypatch.setattr(job_queue, "_POLL_S", 0.1)


@pytest.fixture
async def attached(pool: asyncpg.Pool, store: str) -> rag.StoreFile:
    """A document that waits to be read."""
    file = await upload(pool, "leave.md", "Employees get 15 days of annual leave.")
    return await rag.add_file(pool, ACME, store, file.id)


async def rows(owner: asyncpg.Connection) -> list[int]:
    tables = ("chunks", "chunk_terms", "chunk_embeddings")
    return [await owner.fetchval(f"SELECT count(*) FROM {table}") for table in tables]


async def status_of(pool: asyncpg.Pool, file: rag.StoreFile) -> rag.StoreFile:
    return await rag.get_store_file(pool, ACME, file.vector_store_id, file.id)


async def test_a_failure_is_told_by_name_and_the_others_load(
    pool: asyncpg.Pool, owner: asyncpg.Connection, store: str, embedder: InMemoryEmbedder
) -> None:
    files = await fill(
        pool,
        embedder,
        store,
        {
            "good.pdf": pdf_of(["annual leave"]),
            "locked.pdf": pdf_of(["secret"], encrypted=True),
            "broken.pdf": b"%PDF-1.4 nonsense",
            "empty.txt": b"",
            "word.docx": b"PK\x03\x04\0\0\0",
            "also good.md": "sick leave",
        },
    )
    errors = {name: file.last_error and file.last_error.code for name, file in files.items()}
    assert errors == {
        "good.pdf": None,
        "locked.pdf": "invalid_file",
        "broken.pdf": "invalid_file",
        "empty.txt": "invalid_file",
        "word.docx": "invalid_file",
        "also good.md": None,
    }
    assert [file.status for file in files.values()].count("completed") == 2
    assert "password" in files["locked.pdf"].last_error.message
    assert await rows(owner) == [2, 2, 2]


async def test_a_worker_that_ends_in_the_middle_loses_and_doubles_nothing(
    pool: asyncpg.Pool,
    owner: asyncpg.Connection,
    attached: rag.StoreFile,
    embedder: InMemoryEmbedder,
) -> None:
    gated = GatedEmbedder()
    async with job_worker(pool, gated):
        await gated.reached.wait()
    assert (await status_of(pool, attached)).status == "in_progress"
    assert await rows(owner) == [0, 0, 0]
    async with job_worker(pool, embedder):
        await until_done(pool, attached.vector_store_id)
    assert await rows(owner) == [1, 1, 1]


async def test_postgresql_hanging_up_in_the_middle(
    pool: asyncpg.Pool, owner: asyncpg.Connection, attached: rag.StoreFile
) -> None:
    gated = GatedEmbedder()
    async with job_worker(pool, gated):
        await gated.reached.wait()
        await owner.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'naru'"
        )
        await pool.expire_connections()
        gated.gate.set()
        async with asyncio.timeout(30):
            while await owner.fetchval("SELECT status FROM store_files") == "in_progress":
                await asyncio.sleep(0.02)
    assert (await status_of(pool, attached)).status == "completed"
    assert await rows(owner) == [1, 1, 1]


async def test_a_fault_while_writing_leaves_nothing(
    pool: asyncpg.Pool,
    owner: asyncpg.Connection,
    attached: rag.StoreFile,
    embedder: InMemoryEmbedder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = []

    async def fail(connection: asyncpg.Connection, *_: int) -> None:
        seen.append(await connection.fetchval("SELECT count(*) FROM chunks"))
        raise ZeroDivisionError

    monkeypatch.setattr(documents, "count_document", fail)
    async with job_worker(pool, embedder):
        await until_done(pool, attached.vector_store_id)
    assert seen == [1, 1, 1]
    assert await rows(owner) == [0, 0, 0]
    failed = await status_of(pool, attached)
    assert failed.status == "failed"
    assert failed.last_error == rag.IngestError(
        "server_error", "reading this file has failed three times"
    )


async def test_a_fault_of_one_does_not_stop_the_others(
    pool: asyncpg.Pool, attached: rag.StoreFile
) -> None:
    embedder = FailingEmbedder(ZeroDivisionError("of the first"))
    async with job_worker(pool, embedder):
        await until_done(pool, attached.vector_store_id)
    assert (await status_of(pool, attached)).status == "completed"


async def test_an_absent_embedder_is_waited_for(
    pool: asyncpg.Pool, attached: rag.StoreFile
) -> None:
    embedder = FailingEmbedder(*[rag.EmbedderUnavailable("gone")] * 20)
    async with job_worker(pool, embedder):
        await until_done(pool, attached.vector_store_id)
    assert (await status_of(pool, attached)).status == "completed"
    assert not embedder.errors


@pytest.mark.parametrize("removal", ["file", "store", "store file"])
async def test_what_is_removed_while_it_is_read_stays_away(
    pool: asyncpg.Pool, owner: asyncpg.Connection, attached: rag.StoreFile, removal: str
) -> None:
    gated = GatedEmbedder()
    store_id = attached.vector_store_id
    removals = {
        "file": lambda: rag.delete_file(pool, ACME, attached.id),
        "store": lambda: rag.delete_store(pool, ACME, store_id),
        "store file": lambda: rag.remove_file(pool, ACME, store_id, attached.id),
    }
    async with job_worker(pool, gated):
        await gated.reached.wait()
        await asyncio.wait_for(removals[removal](), 5)
        gated.gate.set()
        other = await rag.create_store(pool, ACME, name="other")
        await rag.add_file(pool, ACME, other.id, (await upload(pool, "b.md", "other")).id)
        await until_done(pool, other.id)
    assert await rows(owner) == [1, 1, 1]
    assert await owner.fetchval("SELECT count(*) FROM store_files") == 1
    leftover = (
        "SELECT count(*) FROM lexicon l JOIN indexes i ON i.id = l.index_id WHERE i.store_id <> $1"
    )
    assert await owner.fetchval(leftover, other.id) == 0


async def test_two_workers_do_not_do_one_job_twice(
    pool: asyncpg.Pool, owner: asyncpg.Connection, store: str
) -> None:
    gated = GatedEmbedder()
    for n in range(6):
        file = await upload(pool, f"{n}.md", f"document {n}")
        await rag.add_file(pool, ACME, store, file.id)
    async with job_worker(pool, gated), job_worker(pool, gated):
        await gated.reached.wait()
        gated.gate.set()
        await until_done(pool, store)
    assert sorted(gated.asked) == [f"{n}.md\ndocument {n}" for n in range(6)]
    assert await rows(owner) == [6, 6, 6]


async def test_a_notification_wakes_the_worker(
    pool: asyncpg.Pool, store: str, embedder: InMemoryEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_queue, "_POLL_S", 600)
    async with job_worker(pool, embedder):
        for name in ("a.md", "b.md"):
            file = await upload(pool, name, "annual leave")
            await rag.add_file(pool, ACME, store, file.id)
            await asyncio.wait_for(until_done(pool, store), 20)


async def test_a_document_slower_than_its_time_fails_alone(
    pool: asyncpg.Pool, attached: rag.StoreFile, embedder: InMemoryEmbedder
) -> None:
    hasty = RetrievalSettings(parse_timeout_s=0.0001)
    async with job_worker(pool, embedder, hasty):
        await until_done(pool, attached.vector_store_id)
    failed = await status_of(pool, attached)
    assert failed.last_error
    assert "longer than 0.0001 s" in failed.last_error.message


async def test_texts_the_model_does_not_know_are_not_embedded(
    pool: asyncpg.Pool, owner: asyncpg.Connection, store: str, embedder: InMemoryEmbedder
) -> None:
    await fill(pool, embedder, store, {"a.md": "annual leave", "b.md": "연차 휴가는 15일이다."})
    assert embedder.asked == ["a.md\nannual leave"]
    assert await rows(owner) == [2, 2, 1]


async def test_a_file_whose_job_was_lost_is_read_all_the_same(
    pool: asyncpg.Pool, owner: asyncpg.Connection, attached: rag.StoreFile
) -> None:
    await owner.execute("DELETE FROM pgqueuer")
    async with job_worker(pool, InMemoryEmbedder()):
        async with tenant_transaction(pool, "acme") as con:
            await enqueue(con, "sweep")
        await until_done(pool, attached.vector_store_id)
    assert await rows(owner) == [1, 1, 1]


async def test_a_sweep_adds_no_second_job(
    pool: asyncpg.Pool, owner: asyncpg.Connection, attached: rag.StoreFile, empty_database: str
) -> None:
    async with await open_pool(empty_database, size=1, role="naru_jobs") as jobs:
        await jobs.execute(load_queries("rag", "ingest.sql")["sweep"])
    assert await owner.fetchval("SELECT count(*) FROM pgqueuer") == 1


@pytest.mark.parametrize("change", ["status = 'cancelled'", "claim = gen_random_uuid()"])
async def test_a_file_that_is_cancelled_or_claimed_by_another_is_let_go_within_a_second(
    pool: asyncpg.Pool, owner: asyncpg.Connection, attached: rag.StoreFile, change: str
) -> None:
    gated = GatedEmbedder()
    async with job_worker(pool, gated):
        await gated.reached.wait()
        await owner.execute(f"UPDATE store_files SET {change}")
        async with asyncio.timeout(5):
            while await owner.fetchval("SELECT count(*) FROM pgqueuer WHERE entrypoint = 'read'"):
                await asyncio.sleep(0.02)
        gated.gate.set()
    assert await rows(owner) == [0, 0, 0]
    assert (await status_of(pool, attached)).status != "completed"


async def test_what_an_older_claim_writes_is_not_taken(
    pool: asyncpg.Pool,
    owner: asyncpg.Connection,
    attached: rag.StoreFile,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch, "_LOOK_S", 600)
    gated = GatedEmbedder()
    async with job_worker(pool, gated):
        await gated.reached.wait()
        await owner.execute("UPDATE store_files SET claim = gen_random_uuid()")
        gated.gate.set()
        async with asyncio.timeout(10):
            while await owner.fetchval("SELECT count(*) FROM pgqueuer WHERE entrypoint = 'read'"):
                await asyncio.sleep(0.02)
    assert await rows(owner) == [0, 0, 0]
    assert (await status_of(pool, attached)).status == "in_progress"


async def test_a_worker_that_is_stopped_costs_a_document_no_attempt(
    pool: asyncpg.Pool, owner: asyncpg.Connection, attached: rag.StoreFile
) -> None:
    for _ in range(4):
        gated = GatedEmbedder()
        async with job_worker(pool, gated):
            await gated.reached.wait()
        assert await owner.fetchval("SELECT attempts FROM store_files") == 0


async def test_a_document_that_kills_its_worker_three_times_has_failed(
    pool: asyncpg.Pool, owner: asyncpg.Connection, attached: rag.StoreFile
) -> None:
    await owner.execute("UPDATE store_files SET attempts = 3")
    async with job_worker(pool, InMemoryEmbedder()):
        await until_done(pool, attached.vector_store_id)
    failed = await status_of(pool, attached)
    assert failed.last_error
    assert failed.last_error.code == "server_error"
