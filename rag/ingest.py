"""Reading documents: a file in progress is parsed, cut, embedded and written in one transaction.

The row in `store_files` is the truth, its job in the queue what wakes: a sweep gives a job to rows
that have none. A row is claimed anew each time it is read; what an older claim still writes is not
taken, so that no document is there twice, whoever was thought dead.
"""

import asyncio
import contextlib
import logging
import uuid
from dataclasses import dataclass
from functools import partial

import asyncpg

from config.postgres import UNREACHABLE, Connection, load_queries, tenant_transaction
from config.settings import RetrievalSettings
from config.tasks import end_task
from rag.documents import Place
from rag.embed import Embedders
from rag.errors import FilesUnavailable, NotFound, UnreadableDocument
from rag.into_index import Target, Write, cut_of, put_document
from rag.jobs import Job, Jobs, Postpone
from rag.lexicon import lock_indexes
from rag.prepare import Preparer, Progress, Source
from rag.sync.items import take_place
from rag.watch import Watch

_SQL = load_queries("rag", "ingest.sql")
_log = logging.getLogger(__name__)

_KIND = "read"
_SWEEP = "sweep"
_EVERY_MINUTE = "* * * * *"
_MAX_ATTEMPTS = 3
_BUCKET_AWAY_S = 10.0


@dataclass(frozen=True, slots=True)
class _Claim:
    """The right to read a file of a store; it ends when somebody else gets one, or cancels."""

    source: Source
    id: uuid.UUID
    chunking: str | None

    @property
    def key(self) -> tuple[str, str, uuid.UUID]:
        return self.source.store_id, self.source.file_id, self.id


class Reader:
    """Does the jobs of reading."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        embedders: Embedders,
        preparer: Preparer,
        watch: Watch,
        settings: RetrievalSettings,
    ) -> None:
        self._pool = pool
        self._embedders = embedders
        self._preparer = preparer
        self._watch = watch
        self._settings = settings

    def register(self, jobs: Jobs) -> None:
        """Have the jobs of reading done by this."""
        jobs.on(_KIND, self.read)
        jobs.on(_SWEEP, self.sweep)
        jobs.schedule(_EVERY_MINUTE, _SWEEP)

    async def sweep(self, _: Job) -> None:
        """Enqueue every file that is in progress and has no job; forget jobs of long ago."""
        await self._pool.execute(_SQL["sweep"])
        await self._pool.execute(_SQL["prune_log"])

    async def read(self, job: Job) -> None:
        """Read one file into its store's live index, unless nobody wants that any more."""
        ids = job.payload["store_id"], job.payload["file_id"]
        take_over = True
        # Again where it was attached anew meanwhile: that found this job and added none.
        while await self._read_once(job.tenant, *ids, take_over=take_over):
            take_over = False

    async def _read_once(
        self, tenant: str, store_id: str, file_id: str, *, take_over: bool
    ) -> bool:
        """Read the file, also where another has claimed it; tell whether it was to be read."""
        id_ = uuid.uuid4()
        async with tenant_transaction(self._pool, tenant) as con:
            row = await con.fetchrow(_SQL["start"], store_id, file_id, id_, take_over)
        if row is None:
            return False
        source = Source(tenant, store_id, file_id, row["filename"], row["sha256"])
        claim = _Claim(source, id_, row["chunking"])
        if row["attempts"] > _MAX_ATTEMPTS:
            await self._fail(claim, "server_error", "reading this file has failed three times")
        else:
            await self._read_claimed(claim)
        return True

    async def _read_claimed(self, claim: _Claim) -> None:
        progress = Progress()
        work = asyncio.create_task(self._work(claim, progress))
        try:
            with self._watch.over(claim.id, claim.source, work, progress):
                await asyncio.wait([work])
        finally:
            await end_task(work)
            if work.cancelled() or isinstance(work.exception(), (*UNREACHABLE, FilesUnavailable)):
                await self._give_back(claim)
        if work.cancelled():
            return
        if isinstance(work.exception(), FilesUnavailable):
            raise Postpone(_BUCKET_AWAY_S)
        work.result()

    async def _give_back(self, claim: _Claim) -> None:
        with contextlib.suppress(*UNREACHABLE):
            async with tenant_transaction(self._pool, claim.source.tenant) as con:
                await con.execute(_SQL["give_back"], *claim.key)

    async def _work(self, claim: _Claim, progress: Progress) -> None:
        try:
            while not await self._read_into_live_index(claim, progress):
                pass
        except UnreadableDocument as error:
            await self._fail(claim, error.code, error.reason)
        except NotFound:
            _log.info("file %s was deleted before it was read", claim.source.file_id)

    async def _read_into_live_index(self, claim: _Claim, progress: Progress) -> bool:
        """Read the document; tell False where another index has become the live one meanwhile."""
        async with tenant_transaction(self._pool, claim.source.tenant) as con:
            target = await self._target(con, claim)
        commit = partial(self._write, claim, target)
        return await put_document(self._preparer, claim.source, target, progress, commit)

    async def _target(self, con: Connection, claim: _Claim) -> Target:
        """Return what the file is read for; its own chunking goes before the index's, before ours.

        Raises:
            NotFound: The store was deleted.
        """
        index = await con.fetchrow(_SQL["live_index"], claim.source.store_id)
        if index is None:
            raise NotFound("vector store", claim.source.store_id)
        embedder = self._embedders.of(index["space"]) or self._embedders.default
        cut = cut_of(claim.chunking, index["chunking"], self._settings)
        return Target(index["id"], embedder, cut)

    async def _write(self, claim: _Claim, target: Target, write: Write) -> bool | None:
        """Make the document searchable at once, or not at all when it is not wanted any more.

        False where another index is live; None where `write` has nothing to write.
        """
        ids = claim.source.store_id, claim.source.file_id
        async with tenant_transaction(self._pool, claim.source.tenant) as con:
            await lock_indexes(con, claim.source.store_id)
            if not await con.fetchval(_SQL["still_wanted"], *claim.key):
                return True
            index = await con.fetchrow(_SQL["live_index"], claim.source.store_id)
            if index is None or index["id"] != target.index_id:
                return False
            written = await write(con, Place(index["id"], index["shard"], *ids))
            if written is None:
                return None
            await con.execute(_SQL["set_space"], index["id"], target.embedder.space, ids[1])
            await con.execute(_SQL["complete"], *ids, written.bytes, written.chunks)
            await con.execute(_SQL["forget_early"], *ids)
            await take_place(con, *ids)
            return True

    async def _fail(self, claim: _Claim, code: str, reason: str) -> None:
        async with tenant_transaction(self._pool, claim.source.tenant) as con:
            await con.execute(_SQL["fail"], *claim.key, code, reason)
            await con.execute(_SQL["forget_early"], claim.source.store_id, claim.source.file_id)
