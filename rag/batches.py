"""File batches: files attached to a store together, all or none, and watched together."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from config.postgres import Connection, load_queries, tenant_transaction
from config.scope import TenantScope
from rag.attach import NewFile, attach
from rag.errors import NotFound
from rag.files import storable
from rag.paging import Cursor
from rag.store_files import Status, StoreFile, page_of_files
from rag.stores import FileCounts, find_usable_store

_SQL = load_queries("rag", "batches.sql")
_FIRST_PAGE = Cursor()


@dataclass(frozen=True, slots=True)
class FileBatch:
    """Files that were attached to a store together; `created_at` is in UTC.

    A file that a later batch named too, or that left the store, is not counted any more.
    """

    id: str
    vector_store_id: str
    created_at: datetime
    counts: FileCounts

    @property
    def status(self) -> Status:
        """Return its files' status taken together: failed when every one has."""
        counts = self.counts
        if counts.in_progress:
            return "in_progress"
        if counts.cancelled:
            return "cancelled"
        return "failed" if counts.total and counts.failed == counts.total else "completed"


async def create_batch(
    db: asyncpg.Pool, scope: TenantScope, store_id: str, files: Sequence[NewFile]
) -> FileBatch:
    """Attach files to a store, all or none of them, to be read by the job worker.

    Raises:
        NotFound: The caller has no such store or file.
        StoreExpired: The store was not used for too long.
        AlreadyAttached: A file is there, cut in another way than is asked for.
    """
    id_ = f"vsfb_{secrets.token_hex(12)}"
    async with tenant_transaction(db, scope.tenant) as con:
        store = await find_usable_store(con, scope, store_id)
        await con.execute(_SQL["insert_batch"], id_, store.id)
        await attach(con, scope, store.id, files, id_)
        return await _find(con, scope, store.id, id_)


async def get_batch(
    db: asyncpg.Pool, scope: TenantScope, store_id: str, batch_id: str
) -> FileBatch:
    """Return a batch.

    Raises:
        NotFound: The caller has no such store, or it no such batch.
    """
    async with tenant_transaction(db, scope.tenant) as con:
        return await _find(con, scope, store_id, batch_id)


async def cancel_batch(
    db: asyncpg.Pool, scope: TenantScope, store_id: str, batch_id: str
) -> FileBatch:
    """Have those of its files that are in progress not be read; the others stay in the store.

    Raises:
        NotFound: The caller has no such store, or it no such batch.
    """
    async with tenant_transaction(db, scope.tenant) as con:
        batch = await _find(con, scope, store_id, batch_id)
        await con.execute(_SQL["cancel"], batch.id)
        return await _find(con, scope, store_id, batch_id)


async def list_batch_files(
    db: asyncpg.Pool,
    scope: TenantScope,
    store_id: str,
    batch_id: str,
    cursor: Cursor = _FIRST_PAGE,
    *,
    status: Status | None = None,
) -> list[StoreFile]:
    """Return a page of a batch's files, by the time they were attached.

    Raises:
        NotFound: The caller has no such store, it no such batch, or no file the cursor names.
    """
    async with tenant_transaction(db, scope.tenant) as con:
        batch = await _find(con, scope, store_id, batch_id)
        return await page_of_files(con, scope, store_id, cursor, status=status, batch_id=batch.id)


async def _find(con: Connection, scope: TenantScope, store_id: str, batch_id: str) -> FileBatch:
    ids = storable(store_id), storable(batch_id)
    limits = scope.tenant, scope.allowed.vector_stores
    row = await con.fetchrow(_SQL["get_batch"], *limits, *ids)
    if row is None:
        raise NotFound("file batch", batch_id)
    fields = dict(row)
    counts = FileCounts(*(fields.pop(status) for status in FileCounts.__dataclass_fields__))
    return FileBatch(**fields, counts=counts)
