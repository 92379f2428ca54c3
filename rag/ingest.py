"""Reading documents: a file in progress is parsed, cut, embedded and written in one transaction.

The row in `store_files` is the truth, its job in the queue what wakes: a sweep gives a job to rows
that have none. A row is claimed anew each time it is read; what an older claim still writes is not
taken, so that no document is there twice, whoever was thought dead.
"""

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from config.postgres import UNREACHABLE, load_queries, tenant_transaction
from config.scope import TenantScope
from config.settings import RetrievalSettings
from config.tasks import end_task
from rag.chunk import document_head, indexed_text
from rag.embed import Embedder
from rag.embedding_wire import Vector
from rag.errors import EmbedderUnavailable, NotFound, UnreadableDocument
from rag.files import read_file
from rag.jobs import Job, Jobs
from rag.lexical import document_vector
from rag.lexicon import count_document, lock_indexes
from rag.parse.apart import Parser
from rag.sync.items import take_place
from rag.types import Chunk

_SQL = load_queries("rag", "ingest.sql")
_log = logging.getLogger(__name__)

_KIND = "read"
_SWEEP = "sweep"
_EVERY_MINUTE = "* * * * *"
_MAX_ATTEMPTS = 3
_LOOK_S = 1.0  # whether a document is still wanted
_PAUSE_S = 1.0  # after the embedder failed
_EMBED_BATCH = 64
_WRITE_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class _Claim:
    """The right to read a file of a store; it ends when somebody else gets one, or cancels."""

    tenant: str
    store_id: str
    file_id: str
    id: uuid.UUID

    @property
    def key(self) -> tuple[str, str, uuid.UUID]:
        return self.store_id, self.file_id, self.id


@dataclass(frozen=True, slots=True)
class _Row:
    """A chunk with what the two legs search."""

    chunk: Chunk
    terms: str
    embedding: Vector | None


class Reader:
    """Does the jobs of reading."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        embedder: Embedder,
        parser: Parser,
        settings: RetrievalSettings,
    ) -> None:
        self._pool = pool
        self._embedder = embedder
        self._parser = parser
        self._settings = settings

    def register(self, jobs: Jobs) -> None:
        """Have the jobs of reading done by this."""
        jobs.on(_KIND, self.read)
        jobs.on(_SWEEP, self.sweep)
        jobs.schedule(_EVERY_MINUTE, _SWEEP)

    async def sweep(self, _: Job | None = None) -> None:
        """Enqueue every file that is in progress and has no job."""
        await self._pool.execute(_SQL["sweep"])

    async def read(self, job: Job) -> None:
        """Read one file into its store's live index, unless nobody wants that any more."""
        store_id, file_id = job.payload["store_id"], job.payload["file_id"]
        take_over = True
        # Again where it was attached anew meanwhile: that found this job and added none.
        while await self._read_once(
            _Claim(job.tenant, store_id, file_id, uuid.uuid4()), take_over=take_over
        ):
            take_over = False

    async def _read_once(self, claim: _Claim, *, take_over: bool) -> bool:
        """Read the file, also where another has claimed it; tell whether it was to be read."""
        async with tenant_transaction(self._pool, claim.tenant) as con:
            started = await con.fetchrow(_SQL["start"], *claim.key, take_over)
        if started is None:
            return False
        if started["attempts"] > _MAX_ATTEMPTS:
            await self._fail(claim, "server_error", "reading this file has failed three times")
            return True
        work = asyncio.create_task(self._work(claim, started["filename"]))
        try:
            await self._while_wanted(claim, work)
        finally:
            await end_task(work)
            if work.cancelled():
                await self._give_back(claim)
        if not work.cancelled():
            work.result()
        return True

    async def _while_wanted(self, claim: _Claim, work: "asyncio.Task[None]") -> None:
        """Return when the work is done, or is for nothing: the file cancelled or removed."""
        while not (await asyncio.wait([work], timeout=_LOOK_S))[0]:
            async with tenant_transaction(self._pool, claim.tenant) as con:
                if not await con.fetchval(_SQL["still_wanted"], *claim.key):
                    return

    async def _give_back(self, claim: _Claim) -> None:
        with contextlib.suppress(*UNREACHABLE):
            async with tenant_transaction(self._pool, claim.tenant) as con:
                await con.execute(_SQL["give_back"], *claim.key)

    async def _work(self, claim: _Claim, filename: str) -> None:
        try:
            rows = await self._prepare(claim, filename)
            await self._write(claim, rows)
        except UnreadableDocument as error:
            await self._fail(claim, error.code, error.reason)
        except NotFound:
            _log.info("file %s was deleted before it was read", claim.file_id)

    async def _prepare(self, claim: _Claim, filename: str) -> list[_Row]:
        scope = TenantScope(claim.tenant, client="", scopes=frozenset())
        data = b"".join([part async for part in read_file(self._pool, scope, claim.file_id)])
        chunks = await self._parser.read(
            filename,
            data,
            chunk_chars=self._settings.chunk_chars,
            timeout_s=self._settings.parse_timeout_s,
        )
        heads = ["", *[document_head(chunks)] * (len(chunks) - 1)]
        terms = await asyncio.to_thread(_terms, chunks, filename, heads)
        seen = [indexed_text(c, filename, head) for c, head in zip(chunks, heads, strict=False)]
        embeddings = await self._embed_known(seen)
        return [_Row(*row) for row in zip(chunks, terms, embeddings, strict=True)]

    async def _embed_known(self, texts: Sequence[str]) -> list[Vector | None]:
        """Return the vectors of the texts that are in a language of the model, None for others."""
        embeddings: list[Vector | None] = [None] * len(texts)
        known = [index for index, text in enumerate(texts) if self._embedder.knows(text)]
        for start in range(0, len(known), _EMBED_BATCH):
            batch = known[start : start + _EMBED_BATCH]
            vectors = await self._embed([texts[index] for index in batch])
            for index, vector in zip(batch, vectors, strict=True):
                embeddings[index] = vector
        return embeddings

    async def _embed(self, texts: Sequence[str]) -> list[Vector]:
        """Return the texts' vectors, however long the model is away."""
        while True:
            try:
                return await self._embedder.embed(texts)
            except EmbedderUnavailable as error:
                _log.warning("reading documents waits for the embedding model: %s", error)
            await self._until_back()

    async def _until_back(self) -> None:
        while True:
            await asyncio.sleep(_PAUSE_S)
            with contextlib.suppress(EmbedderUnavailable):
                await self._embedder.check()
                return

    async def _write(self, claim: _Claim, rows: Sequence[_Row]) -> None:
        """Make the document searchable at once, or not at all when it is not wanted any more."""
        size = sum(len(row.chunk.content.encode()) for row in rows)
        ids = claim.store_id, claim.file_id
        async with tenant_transaction(self._pool, claim.tenant) as con:
            await lock_indexes(con, claim.store_id)
            if not await con.fetchval(_SQL["complete"], *claim.key, size):
                return
            index = await con.fetchrow(_SQL["live_index"], claim.store_id, self._embedder.space)
            assert index is not None  # noqa: S101 - every store has one
            document = await con.fetchval(
                _SQL["insert_document"], index["id"], *ids, len(rows), size
            )
            place = index["shard"], index["id"], document
            values = [(*place, *_columns(row)) for row in rows]
            await con.executemany(_SQL["insert_chunk"], values, timeout=_WRITE_TIMEOUT_S)
            await count_document(con, index["id"], document, index["shard"])
            await take_place(con, *ids)

    async def _fail(self, claim: _Claim, code: str, reason: str) -> None:
        async with tenant_transaction(self._pool, claim.tenant) as con:
            await con.execute(_SQL["fail"], *claim.key, code, reason)


def _columns(row: _Row) -> tuple[object, ...]:
    chunk = row.chunk
    return (
        *(chunk.ordinal, chunk.page, chunk.start, chunk.end, chunk.heading, chunk.content),
        *(row.terms, row.embedding),
    )


def _terms(chunks: Sequence[Chunk], source: str, heads: Sequence[str]) -> list[str]:
    return [
        document_vector(indexed_text(chunk, source), head)
        for chunk, head in zip(chunks, heads, strict=False)
    ]
