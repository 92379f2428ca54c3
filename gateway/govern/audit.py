"""The audit log: who did what, kept in a chain that shows whether it was changed.

What happens at about the same time is appended in one transaction: a chain has one end, and who
waits for its record waits for everybody's.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import msgspec

from config.postgres import UNREACHABLE, Connection, load_queries, tenant_transaction
from config.tasks import end_task
from gateway.errors import Unavailable
from gateway.govern.audit_chain import PRUNED, Inspection, Link, link
from gateway.openai.chat_request import JsonObject

SYSTEM = "@system"
"""The chain of what is no tenant's: credentials that nobody has, the service's own doings."""

LATEST_S = 1 << 40
"""No record is of a later moment, in seconds of the epoch."""

LAST_SEQ = (1 << 63) - 1
"""The highest number that a record may have."""

_log = logging.getLogger(__name__)
_SQL = load_queries("gateway.govern", "audit.sql")
_MOST_WAITING = 10_000
_MOST_AT_ONCE = 500
_BUSY_S = 0.1
_GATHER_S = 0.01
_PATIENCE_S = 15.0
_PAGE = 1000


class AuditEvent(msgspec.Struct, frozen=True, omit_defaults=True, rename={"at_ms": "at"}):
    """Something that was done, or refused.

    Attributes:
        tenant: Whose chain it stands in.
        action: Such as `update_client` or `token.issue`.
        outcome: `begun`, `done`, `failed` or `refused`.
        target: What it was done to, by its ids.
        actor: Who did it: client, key, end user.
        detail: What else tells it; no secrets, no text of users or documents.
        at_ms: When, in milliseconds since 1970.
    """

    tenant: str
    action: str
    outcome: str
    target: Mapping[str, str] = {}
    actor: Mapping[str, str] = {}
    detail: Mapping[str, Any] = {}
    at_ms: int = msgspec.field(default_factory=lambda: time.time_ns() // 1_000_000)


_Entry = tuple[AuditEvent, "asyncio.Future[int] | None"]
"""What is to be stored, and who waits for its number."""


def actor_of(client: str, key: str | None, end_user: str | None) -> dict[str, str]:
    """Return who a caller is, without what is empty."""
    named = (("client", client), ("key", key), ("end_user", end_user))
    return {name: value for name, value in named if value}


class AuditLog:
    """Writes records; one per process."""

    def __init__(self, pool: asyncpg.Pool, key: bytes) -> None:
        self._pool = pool
        self._key = key
        self._waiting: list[_Entry] = []
        self._late: deque[AuditEvent] = deque(maxlen=_MOST_WAITING)
        self._wake = asyncio.Event()

    async def record(self, event: AuditEvent) -> int:
        """Return the number of the event's record, once that is stored.

        Who is cancelled meanwhile leaves it to be stored all the same.

        Raises:
            Unavailable: Too many wait, or the store takes too long.
            asyncpg.PostgresError, OSError: The store failed.
        """
        if len(self._waiting) >= _MOST_WAITING:
            raise _not_kept()
        loop = asyncio.get_running_loop()
        stored: asyncio.Future[int] = loop.create_future()
        self._waiting.append((event, stored))
        self._wake.set()
        patience = loop.call_later(_PATIENCE_S, _give_up, stored)
        try:
            return await stored
        finally:
            patience.cancel()

    async def record_in_time(self, event: AuditEvent) -> None:
        """Record what a store that only reads does not hinder; at the latest when it writes again.

        Raises:
            Unavailable: As `record`.
        """
        try:
            await self.record(event)
        except UNREACHABLE as error:
            _log.warning("audit: %s is recorded later: %s", event.action, type(error).__name__)
            self._late.append(event)

    async def try_to_record(self, event: AuditEvent) -> None:
        """Record what has happened already; where that fails, the log says so."""
        try:
            await self.record(event)
        except Exception as error:  # noqa: BLE001 - the answer goes out all the same
            _log.warning("audit: %s was not recorded: %s", event.action, type(error).__name__)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Store what is recorded while the context is open, and all of it on leaving."""
        task = asyncio.create_task(self._write())
        try:
            yield
        finally:
            await end_task(task)
            while self._waiting:
                await self._store_some()

    async def _write(self) -> None:
        stored_at = float("-inf")
        while True:
            await self._wake.wait()
            gathered = len(self._waiting) >= _MOST_AT_ONCE
            if not gathered and time.monotonic() - stored_at < _BUSY_S:
                # A transaction costs as much as dozens of records: let some come together.
                await asyncio.sleep(_GATHER_S)
            self._wake.clear()
            await self._store_some()
            stored_at = time.monotonic()

    async def _store_some(self) -> None:
        """Store what waits longest, a transaction for each chain."""
        some = self._waiting[:_MOST_AT_ONCE]
        del self._waiting[: len(some)]
        chains: dict[str, list[_Entry]] = {}
        for entry in some:
            chains.setdefault(entry[0].tenant, []).append(entry)
        for tenant, entries in chains.items():
            await self._store(tenant, entries)
        if self._waiting:
            self._wake.set()

    async def _store(self, tenant: str, entries: Sequence[_Entry]) -> None:
        try:
            async with (
                asyncio.timeout(_PATIENCE_S),
                tenant_transaction(self._pool, tenant) as con,
            ):
                links = await append(con, self._key, tenant, [event for event, _ in entries])
        except Exception as error:  # noqa: BLE001 - who waits gets it
            self._not_stored(entries, error)
            return
        for (_, stored), each in zip(entries, links, strict=True):
            if stored and not stored.done():
                stored.set_result(each.seq)
        self._waiting += [(event, None) for event in self._late]
        self._late.clear()

    def _not_stored(self, entries: Sequence[_Entry], error: Exception) -> None:
        for event, stored in entries:
            if stored is None:
                self._late.append(event)
            elif not stored.done():
                stored.set_exception(error)
            elif stored.cancelled():
                _log.warning("audit: %s was not recorded: %s", event.action, type(error).__name__)

    async def page(
        self,
        tenant: str,
        *,
        before: int | None = None,
        action: str | None = None,
        since_ms: int | None = None,
        until_ms: int | None = None,
        limit: int,
    ) -> list[msgspec.Raw]:
        """Return a chain's records as JSON, the newest first, older than number `before`."""
        async with tenant_transaction(self._pool, tenant) as con:
            rows = await con.fetch(_SQL["page"], tenant, before, action, since_ms, until_ms, limit)
        return [msgspec.Raw(row["record"].encode()) for row in rows]


async def append(
    con: Connection, key: bytes, tenant: str, events: Sequence[AuditEvent]
) -> list[Link]:
    """Append events to the tenant's chain, inside its transaction; one appends at a time."""
    row = await con.fetchrow(_SQL["lock_head"], tenant)
    if row is None:
        await con.execute(_SQL["begin_chain"], tenant)
        row = await con.fetchrow(_SQL["lock_head"], tenant)
    assert row  # noqa: S101 - just made
    seq, previous = row["seq"], row["hash"]
    links: list[Link] = []
    for event in events:
        links.append(link(key, seq := seq + 1, previous, event))
        previous = links[-1].hash
    # An array of each column would take the driver as long as all the rest.
    text = ",".join(
        f'{{"seq":{each.seq},"hash":"{each.hash.hex()}","record":{each.record}}}' for each in links
    )
    await con.execute(_SQL["append"], tenant, f"[{text}]", seq, previous)
    return links


async def inspect(pool: asyncpg.Pool, key: bytes, tenant: str) -> Inspection:
    """Check a tenant's whole chain, as of one moment."""
    inspection = Inspection(key, tenant)
    async with tenant_transaction(pool, tenant, snapshot=True) as con:
        gone = [
            msgspec.json.decode(row["record"])["detail"]
            for row in await con.fetch(_SQL["prunings"], tenant, PRUNED)
        ]
        first: bytes | None = None
        while rows := await con.fetch(_SQL["links"], tenant, inspection.head[0], _PAGE):
            if first is None:
                first = _before(gone, rows[0]["seq"])
            inspection.take((Link(**row) for row in rows), first)
            if inspection.fault:
                return inspection
        head = await con.fetchrow(_SQL["head"], tenant)
    inspection.finish((head["seq"], head["hash"]) if head else None, gone)
    return inspection


def _before(gone: Sequence[JsonObject], seq: int) -> bytes:
    """Return the hash that the oldest record builds on, as a pruning says it."""
    hashes = [pruning["hash"] for pruning in gone if pruning.get("through") == seq - 1]
    return bytes.fromhex(hashes[-1]) if hashes else b""


async def prune(pool: asyncpg.Pool, key: bytes, tenant: str, before_ms: int) -> int:
    """Delete a chain's records from before that moment; return how many.

    A record that says so becomes the chain's newest one, which is never deleted.
    """
    async with tenant_transaction(pool, tenant) as con:
        await con.execute(_SQL["lock_head"], tenant)
        last = await con.fetchrow(_SQL["last_before"], tenant, before_ms, PRUNED)
        if last is None:
            return 0
        detail = {"through": last["seq"], "hash": last["hash"].hex()}
        await append(con, key, tenant, [AuditEvent(tenant, PRUNED, "done", detail=detail)])
        pruned: int = await con.fetchval(_SQL["prune"], last["seq"])
    return pruned


async def chains(jobs: asyncpg.Pool) -> list[str]:
    """Return the tenants that have a chain; the pool works as `naru_jobs`."""
    return [row["tenant"] for row in await jobs.fetch(_SQL["chains"])]


def _give_up(stored: "asyncio.Future[int]") -> None:
    if not stored.done():
        stored.set_exception(_not_kept())


def _not_kept() -> Unavailable:
    message = "the audit log can't be written at the moment; try again"
    return Unavailable(message, code="audit_unavailable", headers={"retry-after": "1"})
