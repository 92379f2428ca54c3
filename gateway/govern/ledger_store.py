"""Usage records on their way into PostgreSQL, over one connection that is let go at any doubt."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine, Sequence
from datetime import timedelta
from typing import TypeVar

import asyncpg

from config.postgres import Connection, load_queries, session_of
from config.tasks import end_task
from gateway.govern.audit_calls import append_calls
from gateway.govern.budgets_store import book, close_leases
from gateway.govern.ledger_record import Ended

_SQL = load_queries("gateway.govern", "ledger.sql")
_CONNECT_S = 5.0
_QUERY_S = 10.0
_PURGE_S = 120.0
_Result = TypeVar("_Result")


class LedgerStore:
    """Where records end up. Works as `naru_jobs`: a tenant's rows at a time, and what is over.

    With the audit log's key each record that is added is told there, too.
    """

    def __init__(self, url: str, kept: timedelta | None, audit_key: bytes | None = None) -> None:
        self._url = url
        self._kept = kept
        self._audit_key = audit_key
        self._con: asyncpg.Connection | None = None

    async def add(self, records: Sequence[Ended]) -> None:
        """Add records that are not there yet: all of them or none.

        Raises:
            asyncpg.PostgresError, OSError: They are not added, or nobody knows.
        """
        await self._work(lambda con: self._add(con, records), _QUERY_S)

    async def purge(self) -> None:
        """Replace the days that are over by their sums."""
        await self._work(self._purge, _PURGE_S)

    async def close_leases(self, owner: str) -> None:
        """Free what a process that is gone held of any budget; all that it spent is booked."""
        await self._work(lambda con: close_leases(con, owner), _QUERY_S)

    async def close(self) -> None:
        """Let the connection go, whatever it does."""
        con, self._con = self._con, None
        if con:
            con.terminate()

    async def _work(
        self, work: Callable[[asyncpg.Connection], Coroutine[None, None, _Result]], limit_s: float
    ) -> _Result:
        """Work in a transaction; a connection that fails or is silent is let go."""
        con = self._con = self._con or await self._connect()
        working = asyncio.create_task(work(con))
        try:
            await asyncio.wait([working], timeout=limit_s)
        finally:
            if not working.done() or working.exception():
                # Before anything else: to ask a server that hangs for an end takes as long.
                await self.close()
            await end_task(working)
        if working.cancelled():
            raise TimeoutError
        return working.result()

    async def _connect(self) -> asyncpg.Connection:
        session = session_of(self._url, "naru_jobs", name="naru-ledger")
        return await asyncpg.connect(timeout=_CONNECT_S, **session)

    async def _add(self, con: Connection, records: Sequence[Ended]) -> None:
        by_tenant: dict[str, dict[str, Ended]] = defaultdict(dict)
        for record in records:
            by_tenant[record.tenant].setdefault(record.id, record)
        async with con.transaction():
            # In one order everywhere: two processes must not wait for each other.
            for tenant in sorted(by_tenant):
                added = await self._add_of(con, tenant, by_tenant[tenant])
                # In the transaction that adds the records: each is booked and audited once.
                await book(con, [each for record in added for each in record.bookings])
                if self._audit_key:
                    calls = [record.text for record in added]
                    await append_calls(con, self._audit_key, tenant, calls)

    async def _add_of(
        self, con: Connection, tenant: str, records: dict[str, Ended]
    ) -> Sequence[Ended]:
        """Add a tenant's records; return those that were not there yet."""
        await con.execute("SELECT set_config('naru.tenant', $1, true)", tenant)
        texts = b",".join([record.text for record in records.values()])
        there = await con.fetch(_SQL["add"], f"[{texts.decode()}]", self._kept)
        for row in there:
            del records[row["id"].hex]
        return list(records.values())

    async def _purge(self, con: Connection) -> None:
        for row in await con.fetch(_SQL["expired_tenants"]):
            async with con.transaction():
                await con.execute("SELECT set_config('naru.tenant', $1, true)", row["tenant"])
                await con.execute(_SQL["roll_up"])
