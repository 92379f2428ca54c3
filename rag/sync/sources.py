"""The sources of a store: what it is kept in step with, how often, and how that went last."""

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import asyncpg

from config.postgres import Connection, load_queries, tenant_transaction
from config.scope import TenantScope
from config.sync import SyncSettings
from rag.errors import NotFound, SourceRefused
from rag.files import storable
from rag.stores import find_store, find_usable_store
from rag.sync.items import Place, remove_documents
from rag.sync.jobs import enqueue_sync
from rag.sync.origins import (
    Origin,
    UrlsOrigin,
    check_origin,
    kind_of,
    origin_json,
    read_origin,
)

_SQL = load_queries("rag.sync", "sources.sql")

MAX_SOURCES = 100
"""Most sources of one store."""

Schedule = Literal["hourly", "daily", "weekly"]
RunStatus = Literal["in_progress", "completed", "failed"]


@dataclass(frozen=True, slots=True)
class Run:
    """How a run went, or goes.

    Attributes:
        status: `failed` where nothing could be listed.
        complete: Whether all was listed; only then something can have been removed.
        reason: Why it is not complete, or has failed; for the source's owner.
        listed: Documents there.
        added: New ones, handed in to be read.
        changed: Those whose content is another than it was.
        removed: Those that are gone.
        unchanged: Those that are as they were.
        failed: Those that could not be fetched; they are tried again the next time.
        skipped: What is no document: links, devices, hidden files, empty objects.
        started_at: In UTC.
        finished_at: In UTC, or None while it runs.
    """

    status: RunStatus
    complete: bool
    reason: str | None
    listed: int
    added: int
    changed: int
    removed: int
    unchanged: int
    failed: int
    skipped: int
    started_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class Source:
    """A source of a store; times are in UTC.

    Attributes:
        schedule: How often it is read; None for by hand alone.
        due_at: When it is read next; None where nobody has asked for it.
        last_complete_at: When the last run ended that saw all of it.
        last_run: None before the first.
        failures: Key and reason of up to 20 documents that could not be fetched.
    """

    id: str
    store_id: str
    origin: Origin
    schedule: Schedule | None
    created_at: datetime
    due_at: datetime | None
    last_complete_at: datetime | None
    last_run: Run | None
    failures: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Change:
    """What to change of a source: the `urls` of a list, and the schedule where `reschedule`."""

    urls: tuple[str, ...] | None = None
    schedule: Schedule | None = None
    reschedule: bool = False


async def create_source(
    db: asyncpg.Pool,
    scope: TenantScope,
    store_id: str,
    origin: Origin,
    *,
    settings: SyncSettings,
    schedule: Schedule | None = None,
) -> Source:
    """Give a store a source; one with a schedule is read at once.

    Raises:
        NotFound: The caller has no such store.
        StoreExpired: It was not used for too long.
        SourceRefused: The tenant may not read there, or nobody can.
    """
    id_ = f"src_{secrets.token_hex(12)}"
    async with tenant_transaction(db, scope.tenant) as con:
        await find_usable_store(con, scope, store_id)
        check_origin(settings, scope.tenant, origin)
        if await con.fetchval(_SQL["count"], store_id) >= MAX_SOURCES:
            raise SourceRefused(f"a vector store has at most {MAX_SOURCES} sources")
        values = scope.client, kind_of(origin), origin_json(origin), schedule
        await con.execute(_SQL["insert"], id_, store_id, *values)
        if schedule:
            await enqueue_sync(con, id_)
        return await find_source(con, scope, store_id, id_)


async def get_source(db: asyncpg.Pool, scope: TenantScope, store_id: str, source_id: str) -> Source:
    """Return a source of a store.

    Raises:
        NotFound: The caller has no such store, or it no such source.
    """
    async with tenant_transaction(db, scope.tenant) as con:
        return await find_source(con, scope, store_id, source_id)


async def list_sources(db: asyncpg.Pool, scope: TenantScope, store_id: str) -> list[Source]:
    """Return the sources of a store, the oldest first.

    Raises:
        NotFound: The caller has no such store.
    """
    async with tenant_transaction(db, scope.tenant) as con:
        store = await find_store(con, scope, store_id)
        return [_source(row) for row in await con.fetch(_SQL["get"], scope.tenant, store.id, None)]


async def update_source(
    db: asyncpg.Pool,
    scope: TenantScope,
    store_id: str,
    source_id: str,
    change: Change,
    *,
    settings: SyncSettings,
) -> Source:
    """Change a source's schedule, or its list of URLs.

    Raises:
        NotFound: The caller has no such store, or it no such source.
        SourceRefused: It is no list of URLs, or the tenant may not read one of them.
    """
    async with tenant_transaction(db, scope.tenant) as con:
        source = await find_source(con, scope, store_id, source_id)
        origin = None
        if change.urls is not None:
            if not isinstance(source.origin, UrlsOrigin):
                raise SourceRefused("urls: this source is no list of URLs: make another", "urls")
            origin = UrlsOrigin(change.urls)
            check_origin(settings, scope.tenant, origin)
        values = origin and origin_json(origin), change.reschedule, change.schedule
        await con.execute(_SQL["update"], store_id, source.id, *values)
        return await find_source(con, scope, store_id, source_id)


async def request_sync(
    db: asyncpg.Pool, scope: TenantScope, store_id: str, source_id: str
) -> Source:
    """Have a source read as soon as may be; once more where it is being read now.

    Raises:
        NotFound: The caller has no such store, or it no such source.
    """
    async with tenant_transaction(db, scope.tenant) as con:
        source = await find_source(con, scope, store_id, source_id)
        await con.execute(_SQL["request"], store_id, source.id)
        await enqueue_sync(con, source.id)
        return await find_source(con, scope, store_id, source_id)


async def delete_source(
    db: asyncpg.Pool,
    scope: TenantScope,
    store_id: str,
    source_id: str,
    *,
    remove_files: bool = False,
) -> None:
    """Delete a source. What was read from it stays in the store unless `remove_files`.

    Raises:
        NotFound: The caller has no such store, or it no such source.
    """
    async with tenant_transaction(db, scope.tenant) as con:
        source = await find_source(con, scope, store_id, source_id)
        if remove_files:
            await remove_documents(con, Place(source.store_id, source.id))
        await con.execute(_SQL["delete"], store_id, source.id)


async def find_source(con: Connection, scope: TenantScope, store_id: str, source_id: str) -> Source:
    """Return a source of a store, inside a transaction of its tenant.

    Raises:
        NotFound: The caller has no such store, or it no such source.
    """
    allowed = scope.allowed.vector_stores
    ids = storable(store_id), storable(source_id)
    row = await con.fetchrow(_SQL["get"], scope.tenant, *ids)
    if row is None or (allowed is not None and store_id not in allowed):
        raise NotFound("source", source_id)
    return _source(row)


def _source(row: asyncpg.Record) -> Source:
    run = None
    if row["started_at"]:
        run = Run(**{name: row[name] for name in Run.__slots__})
    return Source(
        id=row["id"],
        store_id=row["store_id"],
        origin=read_origin(row["kind"], row["origin"]),
        schedule=row["schedule"],
        created_at=row["created_at"],
        due_at=row["due_at"],
        last_complete_at=row["last_complete_at"],
        last_run=run,
        failures=[(key, reason) for key, reason in json.loads(row["failures"] or "[]")],
    )
