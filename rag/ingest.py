"""The job worker: files in progress are read, cut, embedded and written, each in one transaction.

The row in `store_files` is the job, so nothing can be lost between a queue and the truth. A session
lock keeps two workers from the same job and goes with the session, however that ends. It is not
the row's lock: that would let a deletion wait until the document is read.
"""

import asyncio
import contextlib
import logging
import traceback
from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from config.postgres import UNREACHABLE, Connection, load_queries, tenant_transaction
from config.scope import TenantScope
from config.settings import RetrievalSettings
from rag.chunk import document_head, indexed_text
from rag.embed import Embedder
from rag.embedding_wire import Vector
from rag.errors import EmbedderUnavailable, NotFound, UnreadableDocument
from rag.files import read_file
from rag.lexical import document_vector
from rag.lexicon import count_document, lock_indexes
from rag.parse.apart import Parser, open_parser
from rag.types import Chunk

_SQL = load_queries("rag", "ingest.sql")
_CHANNEL = "naru_ingest"
_log = logging.getLogger(__name__)

_AT_ONCE = 2
_MAX_ATTEMPTS = 3
_POLL_S = 5.0
_PAUSE_S = 1.0  # after PostgreSQL or the embedder failed
_EMBED_BATCH = 64
_WRITE_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class _Job:
    store_id: str
    file_id: str
    attempts: int
    tenant: str
    filename: str


@dataclass(frozen=True, slots=True)
class _Tools:
    """What reading a document takes."""

    pool: asyncpg.Pool
    embedder: Embedder
    parser: Parser
    settings: RetrievalSettings


@dataclass(frozen=True, slots=True)
class _Row:
    """A chunk with what the two legs search."""

    chunk: Chunk
    terms: str
    embedding: Vector | None


async def run_jobs(
    db_pool: asyncpg.Pool, embedder: Embedder, settings: RetrievalSettings, stop: asyncio.Event
) -> None:
    """Read files in progress, two at once, until `stop` is set; jobs under way are then dropped.

    A dropped or crashed job is taken up again by the next worker. Needs four of the pool's
    connections, which work as `naru_jobs`.
    """
    wake = asyncio.Event()
    async with open_parser() as parser, asyncio.TaskGroup() as group:
        tools = _Tools(db_pool, embedder, parser, settings)
        workers = [_work(tools, wake, stop) for _ in range(_AT_ONCE)]
        tasks = [group.create_task(each) for each in (_listen(db_pool, wake, stop), *workers)]
        try:
            await stop.wait()
        finally:
            stop.set()
            for task in tasks:
                task.cancel()


async def _listen(pool: asyncpg.Pool, wake: asyncio.Event, stop: asyncio.Event) -> None:
    """Wake the workers when a file was attached, and every few seconds all the same.

    `stop` is asked beside the cancellation: giving a lost connection back to the pool raises an
    error of its own in the cancellation's place.
    """

    def on_notify(*_: object) -> None:
        wake.set()

    while not stop.is_set():
        with contextlib.suppress(*UNREACHABLE):
            async with pool.acquire(timeout=10) as connection:
                await connection.add_listener(_CHANNEL, on_notify)
                try:
                    while not connection.is_closed():
                        wake.set()
                        await asyncio.sleep(_POLL_S)
                finally:
                    await connection.remove_listener(_CHANNEL, on_notify)
        await asyncio.sleep(_PAUSE_S)


async def _work(tools: _Tools, wake: asyncio.Event, stop: asyncio.Event) -> None:
    while not stop.is_set():
        try:
            while await _next_job(tools):
                pass
            await wake.wait()
            wake.clear()
        except EmbedderUnavailable as error:
            _log.warning("reading documents waits for the embedding model: %s", error)
            await _until_back(tools.embedder)
        except UNREACHABLE as error:
            _log.warning("reading documents waits for PostgreSQL: %s", type(error).__name__)
            await asyncio.sleep(_PAUSE_S)
        except Exception as error:  # noqa: BLE001 - its attempts are counted: it fails in the end
            # Neither the message nor the values: they may hold what the document says.
            where = traceback.extract_tb(error.__traceback__)[-1]
            _log.error(
                "a fault of ours: %s at %s:%s", type(error).__name__, where.name, where.lineno
            )
            await asyncio.sleep(_PAUSE_S)


async def _until_back(embedder: Embedder) -> None:
    """Wait for the embedder, so that its absence costs no document more than one attempt."""
    while True:
        await asyncio.sleep(_PAUSE_S)
        with contextlib.suppress(EmbedderUnavailable):
            await embedder.check()
            return


async def _next_job(tools: _Tools) -> bool:
    """Do one job; tell whether there was one. Giving the session back frees the job."""
    async with tools.pool.acquire(timeout=10) as session:
        job = await _claim(session)
        if job is None:
            return False
        if job.attempts > _MAX_ATTEMPTS:
            await _fail(session, job, "server_error", "reading this file has failed three times")
            return True
        try:
            rows = await _prepare(tools, job)
            await _write(session, job, rows, tools.embedder.space)
        except UnreadableDocument as error:
            await _fail(session, job, error.code, error.reason)
        except NotFound:
            _log.info("file %s was deleted before it was read", job.file_id)
        return True


async def _claim(session: Connection) -> _Job | None:
    for row in await session.fetch(_SQL["next_jobs"]):
        tenant, *ids = row["tenant"], row["store_id"], row["file_id"]
        if await session.fetchval(_SQL["try_lock"], *ids):
            async with tenant_transaction(session, tenant) as con:
                started = await con.fetchrow(_SQL["start"], tenant, *ids)
            if started:
                return _Job(**started)
    return None


async def _prepare(tools: _Tools, job: _Job) -> list[_Row]:
    scope = TenantScope(job.tenant, client="", scopes=frozenset())
    data = b"".join([part async for part in read_file(tools.pool, scope, job.file_id)])
    settings = tools.settings
    chunks = await tools.parser.read(
        job.filename, data, chunk_chars=settings.chunk_chars, timeout_s=settings.parse_timeout_s
    )
    heads = ["", *[document_head(chunks)] * (len(chunks) - 1)]
    terms = await asyncio.to_thread(_terms, chunks, job.filename, heads)
    seen = [indexed_text(c, job.filename, head) for c, head in zip(chunks, heads, strict=False)]
    embeddings = await _embed_known(tools.embedder, seen)
    return [_Row(*row) for row in zip(chunks, terms, embeddings, strict=True)]


def _terms(chunks: Sequence[Chunk], source: str, heads: Sequence[str]) -> list[str]:
    return [
        document_vector(indexed_text(chunk, source), head)
        for chunk, head in zip(chunks, heads, strict=False)
    ]


async def _embed_known(embedder: Embedder, texts: Sequence[str]) -> list[Vector | None]:
    """Return the vectors of the texts that are in a language of the model, None for others."""
    embeddings: list[Vector | None] = [None] * len(texts)
    known = [index for index, text in enumerate(texts) if embedder.knows(text)]
    for start in range(0, len(known), _EMBED_BATCH):
        batch = known[start : start + _EMBED_BATCH]
        for index, vector in zip(
            batch, await embedder.embed([texts[index] for index in batch]), strict=True
        ):
            embeddings[index] = vector
    return embeddings


async def _write(session: Connection, job: _Job, rows: Sequence[_Row], space: str) -> None:
    """Make the document searchable at once, or not at all when it was removed meanwhile."""
    ids = job.store_id, job.file_id
    size = sum(len(row.chunk.content.encode()) for row in rows)
    async with tenant_transaction(session, job.tenant) as con:
        await lock_indexes(con, job.store_id)
        if not await con.fetchval(_SQL["complete"], *ids, size):
            return
        index = await con.fetchrow(_SQL["live_index"], job.store_id, space)
        assert index is not None  # noqa: S101 - every store has one
        document = await con.fetchval(_SQL["insert_document"], index["id"], *ids, len(rows), size)
        place = index["shard"], index["id"], document
        values = [(*place, *_columns(row)) for row in rows]
        await con.executemany(_SQL["insert_chunk"], values, timeout=_WRITE_TIMEOUT_S)
        await count_document(con, index["id"], document, index["shard"])


def _columns(row: _Row) -> tuple[object, ...]:
    chunk = row.chunk
    return (
        *(chunk.ordinal, chunk.page, chunk.start, chunk.end, chunk.heading, chunk.content),
        *(row.terms, row.embedding),
    )


async def _fail(session: Connection, job: _Job, code: str, reason: str) -> None:
    async with tenant_transaction(session, job.tenant) as con:
        await con.execute(_SQL["fail"], job.store_id, job.file_id, code, reason)
