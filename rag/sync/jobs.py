"""When sources are read: a job for each that is due.

`due_at` in its row is the truth: it stays until the run is over, so that a lost job is made again.
"""

import asyncpg

from config.postgres import Connection, load_queries
from rag.errors import FilesUnavailable
from rag.jobs import Job, Jobs, Postpone, enqueue
from rag.storage import IN_POSTGRES, Storage
from rag.sync.run import Limits, sync_source

_SQL = load_queries("rag.sync", "jobs.sql")
_KIND = "sync"
_SWEEP = "sync_due"
_EVERY_MINUTE = "* * * * *"
_AT_ONCE = 2
_BUCKET_AWAY_S = 60.0


async def enqueue_sync(con: Connection, source_id: str) -> None:
    """Have a source read as soon as may be, in a transaction that makes it due."""
    await enqueue(con, _KIND, {"source": source_id}, key=f"{_KIND} {source_id}")


class Syncer:
    """Does the jobs of sync; two sources are read at a time, over all workers."""

    def __init__(self, pool: asyncpg.Pool, limits: Limits, storage: Storage = IN_POSTGRES) -> None:
        self._pool = pool
        self._storage = storage
        self._limits = limits

    def register(self, jobs: Jobs) -> None:
        """Have the jobs of sync done by this."""
        jobs.on(_KIND, self.sync, at_once=_AT_ONCE)
        jobs.on(_SWEEP, self.enqueue_due)
        jobs.schedule(_EVERY_MINUTE, _SWEEP)

    async def enqueue_due(self, _: Job | None = None) -> None:
        """Enqueue every source that is due."""
        await self._pool.execute(_SQL["enqueue_due"])

    async def sync(self, job: Job) -> None:
        """Read one source."""
        source = job.payload["source"]
        try:
            await sync_source(self._pool, job.tenant, source, self._limits, self._storage)
        except FilesUnavailable:
            raise Postpone(_BUCKET_AWAY_S) from None
