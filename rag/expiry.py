"""What has expired is removed: files, with what was read from them, and what stores hold.

Nobody is shown an expired file, nor finds anything in an expired store, before that.
"""

import asyncpg

from config.postgres import load_queries, tenant_transaction
from rag.files import forget_file
from rag.jobs import Job, Jobs
from rag.lexicon import lock_indexes

_SQL = load_queries("rag", "expiry.sql")
_KIND = "expire"
_EVERY_MINUTE = "* * * * *"


class Expiry:
    """Does the jobs of removing what has expired, of every tenant."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    def register(self, jobs: Jobs) -> None:
        """Have it done every minute."""
        jobs.on(_KIND, self.sweep)
        jobs.schedule(_EVERY_MINUTE, _KIND)

    async def sweep(self, _: Job | None = None) -> None:
        """Remove what has expired by now, each file and store in a transaction of its own."""
        for file in await self._pool.fetch(_SQL["expired_files"]):
            async with tenant_transaction(self._pool, file["tenant"]) as con:
                await forget_file(con, file["tenant"], file["id"])
        for store in await self._pool.fetch(_SQL["expired_stores"]):
            await self._empty(store["tenant"], store["id"])

    async def _empty(self, tenant: str, store_id: str) -> None:
        async with tenant_transaction(self._pool, tenant) as con:
            # It may have been used at the last moment.
            if await con.fetchval(_SQL["mark_emptied"], store_id):
                await lock_indexes(con, store_id)
                await con.execute(_SQL["remove_files"], store_id)
                await con.execute(_SQL["remove_indexes"], store_id)
