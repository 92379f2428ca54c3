"""Whatever is killed, restarted or deleted while documents are read: all of them are there once."""

import asyncio
import contextlib
import os
import shutil
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import psutil
import pytest
from knowledge import job_worker, until_done, upload
from naru_process import wait_until_gone
from support import scope_of

import rag
from config import embedded, postgres
from config.settings import RetrievalSettings
from rag import job_queue, prepare, watch
from rag.embedding_wire import Kind, Vector
from rag.testing import InMemoryEmbedder

ACME = scope_of("acme")
SCRIPT = Path(__file__).parents[1] / "crashing_worker.py"
SHORT = RetrievalSettings(chunk_tokens=30)
TEXTS = {
    f"{name}.md": "\n\n".join(
        f"## {name} {n}\n\n{name} holds the words of part {n}." for n in range(8)
    )
    for name in ("alpha", "beta", "gamma")
}


@asynccontextmanager
async def worker_process(url: str, stage: str = "") -> AsyncIterator[asyncio.subprocess.Process]:
    """The job worker as a process; killed at the end, and all it started with it."""
    root = str(SCRIPT.parents[1])
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(SCRIPT), url, stage),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": root},
    )
    try:
        yield process
    finally:
        started = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        await process.wait()
        await asyncio.to_thread(wait_until_gone, started, 20)


async def attach(pool: asyncpg.Pool, store: str) -> None:
    for name, text in TEXTS.items():
        await rag.add_file(pool, ACME, store, (await upload(pool, name, text)).id)


async def assert_whole(owner: asyncpg.Connection, files: int) -> None:
    """So many documents are there, each once and whole, with exact statistics and nothing else."""
    assert await owner.fetchval("SELECT count(*) FROM store_files") == files
    unlike = "SELECT count(*) FROM store_files WHERE status <> 'completed' OR claim IS NOT NULL"
    assert await owner.fetchval(unlike) == 0
    documents = await owner.fetch(
        "SELECT d.chunk_count,"
        " (SELECT count(*) FROM chunks WHERE document = d.id) AS chunks,"
        " (SELECT count(*) FROM chunk_terms WHERE document = d.id) AS terms,"
        " (SELECT count(*) FROM chunk_embeddings WHERE document = d.id) AS embeddings"
        " FROM documents d"
    )
    assert len(documents) == files
    assert all(len(set(row.values())) == 1 for row in documents), documents
    for table in ("chunk_terms", "chunk_embeddings"):
        orphans = f"SELECT count(*) FROM {table} t LEFT JOIN chunks c ON c.id = t.chunk_id"
        assert await owner.fetchval(f"{orphans} WHERE c.id IS NULL") == 0
    assert await owner.fetchval("SELECT count(*) FROM early_embeddings") == 0
    wrong = "SELECT count(*) FROM indexes i WHERE state = 'live' AND chunks <> "
    wrong += "(SELECT count(*) FROM chunk_terms WHERE index_id = i.id)"
    assert await owner.fetchval(wrong) == 0
    counted = await owner.fetch(
        "SELECT t.index_id, term, count(*) AS df FROM chunk_terms t, term_ids(t.terms) AS term"
        " GROUP BY t.index_id, term ORDER BY t.index_id, term"
    )
    kept = await owner.fetch("SELECT index_id, term, df FROM lexicon ORDER BY index_id, term")
    assert kept == counted


async def until_idle(owner: asyncpg.Connection) -> None:
    async with asyncio.timeout(30):
        while await owner.fetchval("SELECT count(*) FROM pgqueuer WHERE entrypoint = 'read'"):
            await asyncio.sleep(0.05)


async def until_kept(owner: asyncpg.Connection) -> None:
    """Embeddings that a crash does not cost are there; the next are asked for meanwhile."""
    async with asyncio.timeout(30):
        while not await owner.fetchval("SELECT count(*) FROM early_embeddings"):
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("stage", ["claimed", "parsing", "embedding", "writing", "written"])
async def test_a_worker_killed_at_any_stage_loses_and_doubles_nothing(
    pool: asyncpg.Pool, owner: asyncpg.Connection, store: str, empty_database: str, stage: str
) -> None:
    await attach(pool, store)
    async with worker_process(empty_database, stage) as killed:
        assert await asyncio.wait_for(killed.stdout.readline(), 60) == b"reached\n"
        if stage == "embedding":
            await until_kept(owner)
    async with worker_process(empty_database):
        await until_done(pool, store)
        await until_idle(owner)
    await assert_whole(owner, 3)


async def test_a_document_that_kills_every_worker_fails_and_the_others_load(
    pool: asyncpg.Pool, owner: asyncpg.Connection, store: str, empty_database: str
) -> None:
    file = await upload(pool, "alpha.md", TEXTS["alpha.md"])
    await rag.add_file(pool, ACME, store, file.id)
    for _ in range(3):
        async with worker_process(empty_database, "claimed") as killed:
            assert await asyncio.wait_for(killed.stdout.readline(), 60) == b"reached\n"
    await rag.add_file(pool, ACME, store, (await upload(pool, "b.md", TEXTS["beta.md"])).id)
    async with worker_process(empty_database):
        await until_done(pool, store)
    failed = await rag.get_store_file(pool, ACME, store, file.id)
    assert failed.last_error == rag.IngestError(
        "server_error", "reading this file has failed three times"
    )
    assert (await rag.get_store(pool, ACME, store)).counts.completed == 1


@pytest.mark.parametrize("stage", ["parsing", "embedding"])
async def test_a_cancelled_file_is_let_go_and_leaves_nothing(
    pool: asyncpg.Pool, owner: asyncpg.Connection, store: str, empty_database: str, stage: str
) -> None:
    file = await upload(pool, "alpha.md", TEXTS["alpha.md"])
    await rag.add_file(pool, ACME, store, file.id)
    async with worker_process(empty_database, stage) as worker:
        assert await asyncio.wait_for(worker.stdout.readline(), 60) == b"reached\n"
        await owner.execute("UPDATE store_files SET status = 'cancelled'")
        await until_idle(owner)
    assert await owner.fetchval("SELECT count(*) FROM documents") == 0
    await rag.add_file(pool, ACME, store, file.id)
    async with worker_process(empty_database):
        await until_done(pool, store)
        await until_idle(owner)
    await assert_whole(owner, 1)


class Server:
    """A PostgreSQL that can be restarted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._runtime = embedded.runtime_dir(folder)
        self.url = embedded.postgres_url(self._runtime)

    def start(self) -> None:
        self._child = embedded.spawn(embedded.postgres_command(self._folder, self._runtime))
        status = self._folder / "postgres" / "postmaster.pid"
        deadline = time.monotonic() + 30
        while not (status.exists() and status.read_text().rstrip().endswith("ready")):
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def stop(self) -> None:
        assert self._child.stdin is not None
        self._child.stdin.close()
        self._child.wait(30)

    def kill(self) -> None:
        """End it as a crash would."""
        pid = int((self._folder / "postgres" / "postmaster.pid").read_text().split()[0])
        psutil.Process(pid).kill()
        self.stop()

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self._runtime, ignore_errors=True)


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = Server(tmp_path_factory.mktemp("restarted"))
    started.start()
    yield started
    started.close()


async def connect(url: str) -> asyncpg.Connection:
    """Connect, as soon as a server that starts lets us."""
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(*postgres.UNREACHABLE):
                return await asyncpg.connect(url)
            await asyncio.sleep(0.05)


class Gated(InMemoryEmbedder):
    """Answers twice, then when its gate is open."""

    def __init__(self) -> None:
        super().__init__()
        self.left = 2
        self.reached = asyncio.Event()
        self.gate = asyncio.Event()

    async def embed(self, texts: Sequence[str], kind: Kind = "document") -> list[Vector]:
        self.left -= 1
        if self.left < 0:
            self.reached.set()
            await self.gate.wait()
        return await super().embed(texts, kind)


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_a_database_that_is_restarted_in_the_middle(
    server: Server, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name in ((job_queue, "_POLL_S"), (job_queue, "_PAUSE_S"), (watch, "_LOOK_S")):
        monkeypatch.setattr(module, name, 0.1)
    monkeypatch.setattr(job_queue, "_HEARTBEAT_S", 2.0)
    monkeypatch.setattr(prepare, "_EMBED_BATCH", 2)
    await postgres.migrate(server.url, ["rag"])
    embedder = Gated()
    async with await postgres.open_pool(server.url, size=2) as pool:
        store = (await rag.create_store(pool, ACME)).id
        await attach(pool, store)
        async with job_worker(pool, embedder, SHORT):
            await asyncio.wait_for(embedder.reached.wait(), 30)
            await asyncio.to_thread(getattr(server, end))
            embedder.gate.set()
            await asyncio.to_thread(server.start)
            await pool.expire_connections()
            owner = await connect(server.url)
            async with asyncio.timeout(60):
                done = "SELECT count(*) FROM store_files WHERE status = 'completed'"
                while await owner.fetchval(done) < 3:
                    await asyncio.sleep(0.05)
            await until_idle(owner)
        await assert_whole(owner, 3)
        await owner.close()


async def test_searches_and_deletions_while_documents_are_read(
    pool: asyncpg.Pool, owner: asyncpg.Connection, store: str
) -> None:
    files = [
        await upload(pool, f"{n}.md", TEXTS["alpha.md"].replace("alpha", f"alpha{n}"))
        for n in range(16)
    ]
    for file in files:
        await rag.add_file(pool, ACME, store, file.id)
    deleted: set[str] = set()
    embedder = InMemoryEmbedder()

    async def delete() -> None:
        for file in files[::2]:
            await rag.delete_file(pool, ACME, file.id)
            deleted.add(file.id)
            await asyncio.sleep(0.02)

    async def search() -> None:
        while len(deleted) < 8 or (await rag.get_store(pool, ACME, store)).counts.in_progress:
            gone = set(deleted)
            found = await rag.search(pool, embedder, ACME, [store], "words of part 3", k=20)
            assert not {passage.document_id for passage in found.passages} & gone

    async with job_worker(pool, InMemoryEmbedder(), SHORT), asyncio.timeout(60):
        await asyncio.gather(delete(), search(), search())
        await until_done(pool, store)
        await until_idle(owner)
    await assert_whole(owner, 8)
