"""Builds a store's index anew, lets it take the place of the live one, and removes that one later.

Each document is written whole, under the lock on the store's indexes, and only where it is not
there: whoever builds, again after a crash or twice at a time, nothing is doubled.
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import asyncpg

from config.postgres import UNREACHABLE, load_queries, tenant_transaction
from config.settings import RetrievalSettings
from config.tasks import end_task
from rag.documents import Place
from rag.embed import Embedder, Embedders
from rag.errors import FilesUnavailable, NotFound, UnreadableDocument
from rag.into_index import Target, Write, cut_of, put_document
from rag.jobs import Job, Jobs, Postpone
from rag.lexicon import lock_indexes
from rag.prepare import Preparer, Progress, Source
from rag.reindex import JOB

_SQL = load_queries("rag", "rebuild.sql")
_log = logging.getLogger(__name__)

_SWEEP = "sweep_indexes"
_EVERY_MINUTE = "* * * * *"
_AT_ONCE = 2  # indexes; the rest of the worker's jobs go on beside them
_DOCUMENTS_AT_ONCE = 8
_LISTED = 256  # documents at a time
_MAX_ATTEMPTS = 3
_BUCKET_AWAY_S = 10.0
_LOOK_S = 1.0  # whether the index is still wanted
_PAUSE_S = 1.0  # after a document that is about to vanish
_LINGER_S = 60.0
"""For how long what was replaced stays there for the searches that began before."""
_REMOVED = 20  # documents in one transaction
_REMOVE_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class _Build:
    """An index that is to be built."""

    tenant: str
    index_id: int
    store_id: str
    embedder: Embedder
    chunking: str | None


class Rebuilder:
    """Does the jobs of indexes that are built, and of those that were replaced."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        embedders: Embedders,
        preparer: Preparer,
        settings: RetrievalSettings,
    ) -> None:
        """`pool` works as `naru_jobs`."""
        self._pool = pool
        self._embedders = embedders
        self._preparer = preparer
        self._settings = settings

    def register(self, jobs: Jobs) -> None:
        """Have these jobs done by this."""
        jobs.on(JOB, self.build, at_once=_AT_ONCE)
        jobs.on(_SWEEP, self.sweep)
        jobs.schedule(_EVERY_MINUTE, _SWEEP)

    async def build(self, job: Job) -> None:
        """Build an index until it is live, or has failed, or is not wanted any more."""
        id_ = job.payload["index"]
        async with tenant_transaction(self._pool, job.tenant) as con:
            row = await con.fetchrow(_SQL["start"], id_)
        if row is None:
            return
        embedder = self._embedders.of(row["space"])
        if embedder is None:
            reason = f"the embedding model {row['model']!r} is not in the settings any more"
            await self._fail(job.tenant, id_, reason)
        elif row["attempts"] > _MAX_ATTEMPTS:
            reason = "reading a document again has failed three times"
            await self._fail(job.tenant, id_, reason)
        else:
            await self._while_wanted(
                _Build(job.tenant, id_, row["store_id"], embedder, row["chunking"])
            )

    async def sweep(self, _: Job) -> None:
        """Enqueue every index that is to be built and has no job; remove what was replaced."""
        await self._pool.execute(_SQL["sweep"])
        for row in await self._pool.fetch(_SQL["retired"], _LINGER_S):
            await self._remove(*row)

    async def _while_wanted(self, build: _Build) -> None:
        work = asyncio.create_task(self._work(build))
        try:
            while not (await asyncio.wait([work], timeout=_LOOK_S))[0]:
                async with tenant_transaction(self._pool, build.tenant) as con:
                    if not await con.fetchval(_SQL["still_wanted"], build.index_id):
                        return
        finally:
            await end_task(work)
            if work.cancelled() or isinstance(work.exception(), (*UNREACHABLE, FilesUnavailable)):
                await self._give_back(build)
        if work.cancelled():
            return
        if isinstance(work.exception(), FilesUnavailable):
            raise Postpone(_BUCKET_AWAY_S)
        work.result()

    async def _give_back(self, build: _Build) -> None:
        with contextlib.suppress(*UNREACHABLE):
            async with tenant_transaction(self._pool, build.tenant) as con:
                await con.execute(_SQL["give_back"], build.index_id)

    async def _work(self, build: _Build) -> None:
        while not await self._switch(build):
            while lacking := await self._lacking(build):
                if not await self._read_all(build, lacking):
                    return

    async def _lacking(self, build: _Build) -> list[asyncpg.Record]:
        async with tenant_transaction(self._pool, build.tenant) as con:
            where = build.index_id, build.store_id
            rows: list[asyncpg.Record] = await con.fetch(_SQL["lacking"], *where, _LISTED)
        return rows

    async def _read_all(self, build: _Build, files: Sequence[asyncpg.Record]) -> bool:
        """Read these files, some at a time; tell False where one can't be: the build has failed."""
        waiting = iter(files)
        tasks = [
            asyncio.create_task(self._read_each(build, waiting)) for _ in range(_DOCUMENTS_AT_ONCE)
        ]
        try:
            return all(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                await end_task(task)

    async def _read_each(self, build: _Build, waiting: Iterator[asyncpg.Record]) -> bool:
        for file in waiting:
            try:
                await self._read(build, file)
            except UnreadableDocument as error:
                reason = f"the file {file['file_id']!r} can't be read again: {error.reason}"
                await self._fail(build.tenant, build.index_id, reason)
                return False
            except NotFound:
                _log.info("file %s was deleted before it was read again", file["file_id"])
                await asyncio.sleep(_PAUSE_S)
        return True

    async def _read(self, build: _Build, file: asyncpg.Record) -> None:
        ids = build.tenant, build.store_id, file["file_id"]
        source = Source(*ids, file["filename"], file["sha256"])
        cut = cut_of(file["chunking"], build.chunking, self._settings)
        target = Target(build.index_id, build.embedder, cut)
        commit = partial(self._write, build, source)
        await put_document(self._preparer, source, target, Progress(), commit)

    async def _write(self, build: _Build, source: Source, write: Write) -> bool | None:
        """Write a document, unless it is there or not wanted any more; None for nothing to write.

        Whether it was written does not matter: what is lacking then is read from the store.
        """
        async with tenant_transaction(self._pool, build.tenant) as con:
            await lock_indexes(con, build.store_id)
            shard = await con.fetchval(_SQL["place"], build.index_id, source.file_id)
            if shard is None:
                return True
            ids = build.store_id, source.file_id
            if await write(con, Place(build.index_id, shard, *ids)) is None:
                return None
            await con.execute(_SQL["went_on"], build.index_id)
            await con.execute(_SQL["forget_early"], *ids)
            return True

    async def _switch(self, build: _Build) -> bool:
        """Let the index take the place of the live one; tell False where it lacks a document."""
        ids = build.index_id, build.store_id
        async with tenant_transaction(self._pool, build.tenant) as con:
            await lock_indexes(con, build.store_id)
            if not await con.fetchval(_SQL["still_wanted"], build.index_id):
                return True
            if await con.fetchrow(_SQL["lacking"], *ids, 1):
                return False
            await con.execute(_SQL["retire_live"], build.store_id)
            await con.execute(_SQL["go_live"], build.index_id)
            await con.execute(_SQL["count_again"], *ids, timeout=_REMOVE_TIMEOUT_S)
        return True

    async def _fail(self, tenant: str, index_id: int, reason: str) -> None:
        async with tenant_transaction(self._pool, tenant) as con:
            await con.execute(_SQL["fail"], index_id, reason)

    async def _remove(self, tenant: str, index_id: int, store_id: str) -> None:
        """Remove an index that nobody searches any more, a few documents at a time."""
        gone = ""
        while gone != "DELETE 0":
            async with tenant_transaction(self._pool, tenant) as con:
                step = index_id, _REMOVED
                gone = await con.execute(_SQL["remove_documents"], *step, timeout=_REMOVE_TIMEOUT_S)
        async with tenant_transaction(self._pool, tenant) as con:
            await con.execute(_SQL["remove_index"], index_id, timeout=_REMOVE_TIMEOUT_S)
            await con.execute(_SQL["forget_all_early"], store_id)
