"""Budgets in PostgreSQL: leases that processes take, and what is booked as spent."""

import asyncio
import datetime as dt
from collections.abc import Iterable, Sequence

import asyncpg
import msgspec

from config.postgres import Connection, load_queries
from gateway.govern.budgets_lease import TTL_S, Ask, Budget, Grant

_PATIENCE_S = 2.0
_SQL = load_queries("gateway.govern", "budgets.sql")


class Booking(msgspec.Struct, array_like=True, frozen=True):
    """What was spent from a lease, in nano-dollars."""

    period: int
    lease: str
    cost: int


async def book(con: Connection, bookings: Iterable[Booking]) -> None:
    """Count what was spent, inside a transaction of the tenant that it belongs to.

    In the transaction that stores the record of it, so that each is counted once. What was booked
    of a deleted budget is nobody's any more.
    """
    spent: dict[tuple[int, str], int] = {}
    for each in bookings:
        of = each.period, each.lease
        spent[of] = spent.get(of, 0) + each.cost
    if not spent:
        return
    periods, leases = zip(*spent, strict=True)
    costs = list(spent.values())
    # The rows of leases are changed by whoever has locked their period's alone.
    await con.execute(_SQL["lock_periods"], periods)
    await con.execute(_SQL["book_periods"], periods, costs)
    await con.execute(_SQL["book_leases"], leases, costs)


async def close_leases(con: Connection, owner: str) -> None:
    """Free what a process that is gone held of any budget, once all that it spent is booked."""
    for row in await con.fetch(_SQL["tenants"]):
        async with con.transaction():
            await con.execute("SELECT set_config('naru.tenant', $1, true)", row["tenant"])
            if periods := [held["period"] for held in await con.fetch(_SQL["held_periods"], owner)]:
                await con.execute(_SQL["lock_periods"], periods)
                await con.execute(_SQL["close_leases"], owner)


class PostgresBank:
    """`pool` works as `naru_jobs`: it is nobody's else, for who waits here must not wait there."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._late: set[asyncio.Task[list[asyncpg.Record]]] = set()

    async def list_budgets(self) -> list[Budget]:
        """Return every tenant's budgets."""
        return [Budget(**row) for row in await self._fetch("list_known")]

    async def lease(self, asks: Sequence[Ask]) -> list[Grant | None]:
        """Take, renew or return leases, one after another; None where the budget is gone.

        Raises:
            TimeoutError: There was no answer in time; it may have been done nevertheless.
        """
        columns = [
            [ask.tenant for ask in asks],
            *zip(*(ask.key for ask in asks), strict=True),
            [ask.period for ask in asks],
            [ask.lease for ask in asks],
            [ask.number for ask in asks],
            [ask.want for ask in asks],
            [ask.slack for ask in asks],
            [ask.safe for ask in asks],
        ]
        rows = await self._fetch("lease", *columns, dt.timedelta(seconds=TTL_S))
        return [None if row["period"] is None else Grant(**row) for row in rows]

    async def _fetch(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        """Run one statement; whoever waits is told in time, though the connection hang."""
        task = asyncio.create_task(self._pool.fetch(_SQL[query], *arguments, timeout=_PATIENCE_S))
        self._late.add(task)
        task.add_done_callback(self._done)
        done, _ = await asyncio.wait([task], timeout=_PATIENCE_S)
        if not done:
            task.cancel()
            raise TimeoutError
        return task.result()

    def _done(self, task: "asyncio.Task[list[asyncpg.Record]]") -> None:
        self._late.discard(task)
        if not task.cancelled():
            task.exception()  # so that it is not told as one that nobody has seen
