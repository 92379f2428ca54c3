"""One run of a source: what is listed is fetched where it has changed, what is gone goes.

A lock keeps two runs of a source apart, in a transaction that is open for as long: so a pooler
leaves it its connection. The run's number, looked at in each transaction (`rag.sync.writing`),
stops one that has lost its lock without knowing. A run that broke off is still due: the next one
goes on where it was.
"""

import asyncio
import logging
import traceback
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from config.postgres import UNREACHABLE, load_queries, tenant_transaction
from config.scope import TenantScope
from config.sync import SyncSettings
from rag.errors import FilesUnavailable, SourceRefused, StoreExpired
from rag.storage import IN_POSTGRES, Storage
from rag.sync.folder import FolderReader
from rag.sync.items import Item, Place
from rag.sync.origins import BucketOrigin, FolderOrigin, Origin, UrlsOrigin, read_origin
from rag.sync.reading import Gone, Listed, Listing, NotFetched, Reader, Spool
from rag.sync.urls import UrlsReader
from rag.sync.writing import Outcome, Superseded, Writer

_SQL = load_queries("rag.sync", "run.sql")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """Within which bounds documents are read, and by whom from where."""

    sync: SyncSettings
    max_file_bytes: int


@dataclass(frozen=True, slots=True)
class _Started:
    """What the source was when its run began."""

    origin: Origin
    mounts: frozenset[str]
    due_at: datetime | None


async def sync_source(
    db: asyncpg.Pool,
    tenant: str,
    source_id: str,
    limits: Limits,
    storage: Storage = IN_POSTGRES,
) -> None:
    """Read a source once, unless that is being done or the source is gone.

    Needs one of the pool's connections for the lock, and up to `sync.at_once` others.

    Raises:
        FilesUnavailable: The bucket that documents go into can't be used; the source stays due.
    """
    async with _locked(db, source_id) as alone:
        if not alone:
            return
        async with tenant_transaction(db, tenant) as con:
            row = await con.fetchrow(_SQL["start"], tenant, source_id)
        if row is None:
            return
        scope = TenantScope(tenant, row["client"], frozenset())
        writer = Writer(db, scope, Place(row["store_id"], source_id), row["run"], storage)
        origin = read_origin(row["kind"], row["origin"])
        started = _Started(origin, frozenset(row["mounts"]), row["due_at"])
        try:
            await _Run(writer, started, limits).go()
        except Superseded:
            _log.info("source %s was deleted, or is read by another", source_id)


@asynccontextmanager
async def _locked(db: asyncpg.Pool, source_id: str) -> AsyncIterator[bool]:
    """Tell whether nobody else has the source's lock, and keep it while inside."""
    async with db.acquire(timeout=10) as con:
        transaction = con.transaction()
        await transaction.start()
        try:
            yield bool(await con.fetchval(_SQL["try_lock"], source_id))
        finally:
            with suppress(*UNREACHABLE):  # then the lock is gone
                await transaction.rollback()


def open_reader(
    settings: SyncSettings, tenant: str, origin: Origin, mounts: frozenset[str]
) -> Reader:
    """Open a source; `mounts` were volumes of their own when it was complete last.

    Raises:
        SourceRefused: The tenant may not read there, any more.
    """
    match origin:
        case FolderOrigin():
            return FolderReader(settings, tenant, origin, mounts)
        case BucketOrigin():
            # Its library takes megabytes, which only those pay who have a bucket.
            from rag.sync.bucket import BucketReader  # noqa: PLC0415

            return BucketReader(settings, tenant, origin)
        case UrlsOrigin():
            return UrlsReader(settings, tenant, origin)


class _Run:
    """A run under way, and what it has counted."""

    def __init__(self, writer: Writer, started: _Started, limits: Limits) -> None:
        self._writer = writer
        self._started = started
        self._limits = limits
        self._counts: Counter[Outcome] = Counter()
        self._listing = Listing()
        self._known: dict[str, Item] = {}

    async def go(self) -> None:
        """Bring the store in step, and record how that went.

        Raises:
            Superseded: Somebody else decides by now.
        """
        started, tenant = self._started, self._writer.scope.tenant
        try:
            self._known = await self._writer.known()
            reader = open_reader(self._limits.sync, tenant, started.origin, started.mounts)
        except (SourceRefused, StoreExpired) as error:
            self._listing.incomplete = str(error)
        else:
            try:
                await self._read(reader)
            finally:
                await reader.close()
        await self._finish()

    async def _read(self, reader: Reader) -> None:
        self._listing = listing = await reader.list()
        gone = sorted(self._known.keys() - listing.items.keys())
        held = sum(self._known[key].newest is not None for key in gone)
        if held and not listing.items and listing.incomplete is None:
            listing.incomplete = (
                f"nothing is there any more, where {held:,} documents were: nothing was"
                " removed; if that is meant, delete the source together with its files"
            )

        async def take(listed: Listed) -> Outcome | None:
            return await self._take(reader, listed)

        async def remove(key: str) -> Outcome | None:
            return await self._remove_if_gone(reader, key)

        await self._each(listing.items, lambda key: take(listing.items[key]))
        if listing.incomplete is None:
            await self._each(gone, remove)

    async def _each(
        self, keys: Iterable[str], do: Callable[[str], Awaitable[Outcome | None]]
    ) -> None:
        """Do something with every document, some at a time, and count what came of it."""
        waiting = iter(keys)

        async def work() -> None:
            for key in waiting:
                if outcome := await self._guarded(key, do):
                    self._counts[outcome] += 1

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._limits.sync.at_once):
                    group.create_task(work())
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _guarded(
        self, key: str, do: Callable[[str], Awaitable[Outcome | None]]
    ) -> Outcome | None:
        """Do something with one document; whatever is wrong with that one stays its own."""
        try:
            return await do(key)
        except NotFetched as error:
            return await self._writer.fail(key, str(error))
        except (Superseded, FilesUnavailable, *UNREACHABLE):
            raise
        except Exception as error:  # noqa: BLE001 - told, and tried again the next time
            # Neither the message nor the values: they may hold what the document says.
            where = traceback.extract_tb(error.__traceback__)[-1]
            fault = f"{type(error).__name__} at {where.name}:{where.lineno}"
            _log.error("a fault of ours in a source: %s", fault)
            return await self._writer.fail(key, "a fault of ours")

    async def _take(self, reader: Reader, listed: Listed) -> Outcome | None:
        item = self._known.get(listed.key) or Item(listed.key, "")
        if item.newest and item.fingerprint and item.fingerprint == listed.fingerprint:
            return await self._writer.keep(item)
        known = item.fingerprint if item.newest else ""
        with Spool(self._limits.max_file_bytes) as spool:
            try:
                fetched = await reader.fetch(listed, known, spool)
            except Gone:
                return await self._writer.remove(listed.key)
            if fetched is None:
                return await self._writer.keep(item)
            return await self._writer.put(item, fetched, spool)

    async def _remove_if_gone(self, reader: Reader, key: str) -> Outcome | None:
        """Remove a document that is not listed, and not there either when it is looked for."""
        if self._listing.incomplete is not None:
            return None
        if await reader.is_gone(key):
            return await self._writer.remove(key)
        self._listing.incomplete = f"`{key}` is there and was not listed"
        return None

    async def _finish(self) -> None:
        listing, counts = self._listing, self._counts
        complete = listing.incomplete is None
        names: tuple[Outcome, ...] = ("added", "changed", "removed", "unchanged", "failed")
        await self._writer.finish(
            "completed" if complete or listing.items else "failed",
            *(complete, listing.incomplete, len(listing.items)),
            *(counts[name] for name in names),
            *(listing.skipped, sorted(listing.mounts), self._started.due_at),
        )
