"""Large indexes get partitions of their own, with a graph of the vectors and postings of the terms.

All of it is done beside the searches and the writing. A partition is filled while it is nobody's;
what hold others up, for milliseconds, are the moments in which it is tied to the documents and
attached, and for its own store's writers the one in which the index moves over: searches see the
rows before or behind it, never both or neither.
"""

import asyncio
from dataclasses import dataclass

import asyncpg

from config.postgres import Connection, load_queries, tenant_transaction
from config.settings import RetrievalSettings
from rag.jobs import Job, Jobs, Postpone
from rag.lexicon import lock_indexes

_SQL = load_queries("rag", "shards.sql")

_BUILD_TIMEOUT_S = 6 * 3600.0
_TRIES = 50
_PAUSE_S = 0.1
_RETRY_S = 5.0
_TAIL = 1000
"""How many chunks without postings are read one by one in a search before they get some."""
_SEGMENTS = 8
_DEAD_SHARE = 0.3


@dataclass(frozen=True, slots=True)
class _Index:
    """An index as it was found; see the migration for the columns."""

    tenant: str
    id: int
    store_id: str
    shard: int
    next_shard: int | None
    last_posted: int
    posted: int
    segments: int
    chunks: int


class Shards:
    """Does the jobs of indexes that grew, and of those that are gone."""

    def __init__(self, pool: asyncpg.Pool, settings: RetrievalSettings) -> None:
        """`pool` works as `naru_jobs`."""
        self._pool = pool
        self._large = settings.large_index_chunks

    def register(self, jobs: Jobs) -> None:
        """Take over the two kinds of jobs; one index at a time is built."""
        jobs.on("grow_index", self.grow, at_once=1)
        jobs.on("drop_shard", self.drop)

    async def grow(self, job: Job) -> None:
        """Move an index that has become large to partitions of its own; index what came since."""
        index = await self._look(job.tenant, job.payload["index"])
        if index is None:
            return
        if index.shard:
            await self._post_tail(index)
        elif index.chunks >= self._large:
            await self._promote(index)

    async def drop(self, job: Job) -> None:
        """Drop the partitions of an index that is gone."""
        await self._when_free(job.tenant, "drop_shard", job.payload["shard"])

    async def _look(self, tenant: str, index_id: int) -> _Index | None:
        async with tenant_transaction(self._pool, tenant) as con:
            row = await con.fetchrow(_SQL["index"], index_id)
        return _Index(tenant, index_id, **row) if row else None

    async def _promote(self, index: _Index) -> None:
        """Each step can be done again: a job that was cut off goes on where it was."""
        number = index.next_shard or await self._when_free(index.tenant, "make_shard", index.id)
        if number is None:
            return
        if not index.segments:
            await self._fill(index, number)
        await self._when_free(index.tenant, "tie_shard", number)
        await self._run(index.tenant, "validate_shard", number)
        await self._when_free(index.tenant, "attach_shard", number)
        async with tenant_transaction(self._pool, index.tenant) as con:
            await lock_indexes(con, index.store_id)
            await _call(con, "copy_to_shard", index.id, number)
            if await con.execute(_SQL["switch"], index.id, number) == "UPDATE 1":
                for leave in ("leave_terms", "leave_embeddings"):
                    await con.execute(_SQL[leave], index.id, timeout=_BUILD_TIMEOUT_S)

    async def _fill(self, index: _Index, number: int) -> None:
        """Fill the partitions with what is there now; all of them or none."""
        last = (await self._tail(index)).last
        async with tenant_transaction(self._pool, index.tenant) as con:
            await _call(con, "copy_to_shard", index.id, number)
            posted = await _call(con, "post_chunks", number, 0, last)
            await _call(con, "build_graph", number)
            await con.execute(_SQL["set_segments"], index.id, last, posted, 1)

    async def _post_tail(self, index: _Index) -> None:
        tail = await self._tail(index)
        gone = index.posted + tail.chunks - index.chunks
        mostly_gone = gone > _DEAD_SHARE * index.posted
        if tail.chunks < _TAIL and not mostly_gone:
            return
        after, posted, segments = index.last_posted, index.posted, index.segments
        async with tenant_transaction(self._pool, index.tenant) as con:
            if mostly_gone or index.segments >= _SEGMENTS:
                after, posted, segments = 0, 0, 0
                await con.execute(_SQL["forget_postings"], index.shard, timeout=_BUILD_TIMEOUT_S)
            posted += await _call(con, "post_chunks", index.shard, after, tail.last) or 0
            await con.execute(_SQL["set_segments"], index.id, tail.last, posted, segments + 1)

    async def _tail(self, index: _Index) -> "_Tail":
        """Return what has no postings yet.

        Locked: who writes to the store has committed, or gets higher numbers for its chunks.
        """
        async with tenant_transaction(self._pool, index.tenant) as con:
            await lock_indexes(con, index.store_id)
            place = index.id, index.shard, index.last_posted
            row = await con.fetchrow(_SQL["tail"], *place, timeout=_BUILD_TIMEOUT_S)
        assert row is not None  # noqa: S101 - an aggregate is one row
        return _Tail(**row)

    async def _run(self, tenant: str, name: str, *arguments: int) -> int | None:
        async with tenant_transaction(self._pool, tenant) as con:
            return await _call(con, name, *arguments)

    async def _when_free(self, tenant: str, name: str, *arguments: int) -> int | None:
        """Do what needs a lock that others would wait behind, in a moment when nobody has it.

        Raises:
            Postpone: There was none.
        """
        for _ in range(_TRIES):
            try:
                return await self._run(tenant, name, *arguments)
            except asyncpg.LockNotAvailableError:
                await asyncio.sleep(_PAUSE_S)
        raise Postpone(_RETRY_S)


@dataclass(frozen=True, slots=True)
class _Tail:
    """Chunks without postings: how many, and the last one of all."""

    chunks: int
    last: int


async def _call(con: Connection, name: str, *arguments: int) -> int | None:
    found: int | None = await con.fetchval(_SQL[name], *arguments, timeout=_BUILD_TIMEOUT_S)
    return found
