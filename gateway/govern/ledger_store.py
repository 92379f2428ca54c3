"""Usage records on their way into PostgreSQL, over one connection that is let go at any doubt."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine, Sequence
from datetime import timedelta
from typing import TypeVar

import asyncpg
import msgspec

from config.postgres import Connection, load_queries, session_of
from config.tasks import end_task
from gateway.govern.audit_calls import append_calls
from gateway.govern.budgets_store import Booking, book, close_leases

_SQL = load_queries("gateway.govern", "ledger.sql")
_CONNECT_S = 5.0
_QUERY_S = 10.0
_PURGE_S = 120.0
_Result = TypeVar("_Result")


class _Owner(msgspec.Struct):
    id: str
    tenant: str
    bookings: list[Booking] = []


_owner_of = msgspec.json.Decoder(_Owner).decode


class LedgerStore:
    """Where records end up. Works as `naru_jobs`: a tenant's rows at a time, and what is over.

    With the audit log's key each record that is added is told there, too.
    """

    def __init__(self, url: str, kept: timedelta | None, audit_key: bytes | None = None) -> None:
        self._url = url
        self._kept = kept
        self._audit_key = audit_key
        self._con: asyncpg.Connection | None = None

    async def add(self, texts: Sequence[bytes]) -> None:
        """Add records, as JSON, that are not there yet: all of them or none.

        Raises:
            asyncpg.PostgresError, OSError: They are not added, or nobody knows.
        """
        await self._work(lambda con: self._add(con, texts), _QUERY_S)

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

    async def _add(self, con: Connection, texts: Sequence[bytes]) -> None:
        by_tenant: dict[str, dict[str, bytes]] = defaultdict(dict)
        bookings: dict[str, list[Booking]] = {}
        for text in texts:
            owner = _owner_of(text)
            by_tenant[owner.tenant].setdefault(owner.id, text)
            bookings.setdefault(owner.id, owner.bookings)
        async with con.transaction():
            # In one order everywhere: two processes must not wait for each other.
            for tenant in sorted(by_tenant):
                records = by_tenant[tenant]
                added = await self._add_of(con, tenant, list(records.values()))
                # In the transaction that adds the records: each is booked and audited once.
                await book(con, [each for id_ in added for each in bookings[id_]])
                if self._audit_key:
                    calls = [records[id_] for id_ in added]
                    await append_calls(con, self._audit_key, tenant, calls)

    async def _add_of(self, con: Connection, tenant: str, texts: Sequence[bytes]) -> list[str]:
        """Add a tenant's records; return the ids of those that were not there yet."""
        await con.execute("SELECT set_config('naru.tenant', $1, true)", tenant)
        records = (b"[" + b",".join(texts) + b"]").decode()
        rows = await con.fetch(_SQL["add"], records, self._kept)
        return [row["id"].hex for row in rows]

    async def _purge(self, con: Connection) -> None:
        for row in await con.fetch(_SQL["expired_tenants"]):
            async with con.transaction():
                await con.execute("SELECT set_config('naru.tenant', $1, true)", row["tenant"])
                await con.execute(_SQL["roll_up"])
