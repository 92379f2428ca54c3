"""Objects of the bucket that have no file are removed: what a deletion or a broken upload left."""

import contextlib

import asyncpg

from config.postgres import load_queries, tenant_transaction
from rag.blobs import ObjectBlobs
from rag.errors import FilesUnavailable
from rag.jobs import Job, Jobs

_SQL = load_queries("rag", "stray_objects.sql")

_KIND = "remove_objects"
_EVERY_MINUTE = "* * * * *"
_AT_ONCE = 1


class StrayObjects:
    """Does the jobs of removing them, of every tenant."""

    def __init__(self, pool: asyncpg.Pool, bucket: ObjectBlobs) -> None:
        self._pool = pool
        self._bucket = bucket

    def register(self, jobs: Jobs) -> None:
        """Have it done every minute."""
        jobs.on(_KIND, self.sweep, at_once=_AT_ONCE)
        jobs.schedule(_EVERY_MINUTE, _KIND)

    async def sweep(self, _: Job | None = None) -> None:
        """Remove what is due by PostgreSQL's clock; what the bucket does not do now stays due."""
        with contextlib.suppress(FilesUnavailable):
            for row in await self._pool.fetch(_SQL["due"]):
                await self._remove(row["tenant"], row["objects"])

    async def _remove(self, tenant: str, objects: list[str]) -> None:
        # Doomed and committed first: from then on no upload can make a file of it.
        async with tenant_transaction(self._pool, tenant) as con:
            doomed = [row["object"] for row in await con.fetch(_SQL["doom"], objects)]
        if doomed:
            await self._bucket.remove(doomed)
        async with tenant_transaction(self._pool, tenant) as con:
            await con.execute(_SQL["forget"], objects)
