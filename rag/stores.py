"""Vector stores: what a search looks through. Which files they hold is `rag.store_files`."""

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Literal

import asyncpg

from config.postgres import Connection, load_queries, tenant_transaction
from config.scope import TenantScope
from rag.attach import Chunking, NewFile, attach, read_chunking
from rag.errors import NotAllowed, NotFound, StoreExpired
from rag.files import storable
from rag.lexicon import lock_indexes
from rag.paging import Cursor, ListQueries, Place, read_page

_SQL = load_queries("rag", "stores.sql")
_LIST = ListQueries(_SQL["ids_newest_first"], _SQL["ids_oldest_first"])
_FIRST_PAGE = Cursor()


@dataclass(frozen=True, slots=True)
class FileCounts:
    """How many files are in which state."""

    in_progress: int
    completed: int
    failed: int
    cancelled: int

    @property
    def total(self) -> int:
        """Return how many there are."""
        return self.in_progress + self.completed + self.failed + self.cancelled


@dataclass(frozen=True, slots=True)
class Reindex:
    """How reading a store again, with another model or chunking, goes or went.

    Attributes:
        model: The name of the embedding model, as the settings have it.
        chunking: For files that have none of their own; None leaves it to us.
        started_at: In UTC.
        documents_done: How many are in the new index; None when it has become the one searched.
        failure: Why it has failed.
    """

    status: Literal["in_progress", "completed", "failed"]
    model: str
    chunking: Chunking | None
    started_at: datetime
    documents_done: int | None
    failure: str | None


@dataclass(frozen=True, slots=True)
class VectorStore:
    """A knowledge base; times are in UTC.

    Attributes:
        usage_bytes: The text it searches.
        last_active_at: When it was searched, changed or given files last.
        expires_after_days: How long it may be idle; None for ever.
        expires_at: When it will have been, or was.
        expired: It is past that: its files are taken out, and nothing is found in it any more.
        reindex: The last time that it was read again; None when it never was.
    """

    id: str
    name: str
    description: str | None
    metadata: Mapping[str, str]
    usage_bytes: int
    created_at: datetime
    last_active_at: datetime
    expires_after_days: int | None
    expires_at: datetime | None
    expired: bool
    counts: FileCounts
    reindex: Reindex | None


async def create_store(
    db: asyncpg.Pool,
    scope: TenantScope,
    *,
    name: str = "",
    description: str | None = None,
    metadata: Mapping[str, str] | None = None,
    expires_after_days: int | None = None,
    files: Sequence[NewFile] = (),
) -> VectorStore:
    """Make a store with these files, which the job worker then reads, or none at all.

    Raises:
        NotAllowed: The caller is limited to some stores.
        NotFound: The caller has no such file.
    """
    if scope.allowed.vector_stores is not None:
        raise NotAllowed(
            "this client is limited to some vector stores and can't make others:"
            " have one made by a client that is not, and allowed to this one"
        )
    id_ = f"vs_{secrets.token_hex(12)}"
    text = storable(name), None if description is None else storable(description)
    values = id_, scope.tenant, *text, _json(metadata or {}), expires_after_days
    async with tenant_transaction(db, scope.tenant) as con:
        await con.execute(_SQL["insert_store"], *values)
        if files:
            await attach(con, scope, id_, files)
        return await find_store(con, scope, id_)


async def get_store(db: asyncpg.Pool, scope: TenantScope, store_id: str) -> VectorStore:
    """Return a store.

    Raises:
        NotFound: The caller has no such store.
    """
    async with tenant_transaction(db, scope.tenant) as con:
        return await find_store(con, scope, store_id)


async def find_store(con: Connection, scope: TenantScope, store_id: str) -> VectorStore:
    """Return a store, inside a transaction of its tenant.

    Raises:
        NotFound: The caller has no such store.
    """
    row = await con.fetchrow(_SQL["get_stores"], *_seen_by(scope), [storable(store_id)])
    if row is None:
        raise NotFound("vector store", store_id)
    return _store(row)


async def find_usable_store(con: Connection, scope: TenantScope, store_id: str) -> VectorStore:
    """Return a store that can be searched and changed, inside a transaction of its tenant.

    Raises:
        NotFound: The caller has no such store.
        StoreExpired: It was not used for too long.
    """
    store = await find_store(con, scope, store_id)
    if store.expired:
        raise StoreExpired(store_id)
    return store


async def list_stores(
    db: asyncpg.Pool, scope: TenantScope, cursor: Cursor = _FIRST_PAGE
) -> list[VectorStore]:
    """Return a page of the caller's stores, by age.

    Raises:
        NotFound: There is no store that the cursor names.
    """
    async with tenant_transaction(db, scope.tenant) as con:
        find = partial(_place, con, scope)
        ids = [row["id"] for row in await read_page(con, _LIST, cursor, find, *_seen_by(scope))]
        rows = {
            row["id"]: row for row in await con.fetch(_SQL["get_stores"], *_seen_by(scope), ids)
        }
    return [_store(rows[id_]) for id_ in ids if id_ in rows]


async def update_store(
    db: asyncpg.Pool,
    scope: TenantScope,
    store_id: str,
    *,
    name: str | None = None,
    metadata: Mapping[str, str] | None = None,
    expires_after_days: int | None = None,
) -> VectorStore:
    """Change what is given of a store; 0 days let it live for ever.

    Raises:
        NotFound: The caller has no such store.
        StoreExpired: It was not used for too long.
    """
    values = (
        None if name is None else storable(name),
        None if metadata is None else _json(metadata),
        expires_after_days,
    )
    async with tenant_transaction(db, scope.tenant) as con:
        store = await find_usable_store(con, scope, store_id)
        await con.execute(_SQL["update_store"], store.id, *values)
        return await find_store(con, scope, store_id)


async def delete_store(db: asyncpg.Pool, scope: TenantScope, store_id: str) -> None:
    """Delete a store and everything read into it; the files themselves stay.

    Raises:
        NotFound: The caller has no such store.
    """
    async with tenant_transaction(db, scope.tenant) as con:
        # First, as all who write to a store: neither waits for the other for ever.
        await lock_indexes(con, storable(store_id))
        done = await con.execute(_SQL["delete_store"], *_seen_by(scope), storable(store_id))
    if done == "DELETE 0":
        raise NotFound("vector store", store_id)


async def _place(con: Connection, scope: TenantScope, store_id: str) -> Place:
    store = await find_store(con, scope, store_id)
    return store.created_at, store.id


def _seen_by(scope: TenantScope) -> tuple[str, frozenset[str] | None]:
    return scope.tenant, scope.allowed.vector_stores


def _json(metadata: Mapping[str, str]) -> str:
    pairs = {storable(key): storable(value) for key, value in metadata.items()}
    return json.dumps(pairs, ensure_ascii=False)


def _store(row: asyncpg.Record) -> VectorStore:
    fields = dict(row)
    counts = FileCounts(*(fields.pop(status) for status in FileCounts.__dataclass_fields__))
    reindex = _reindex({name: fields.pop(name) for name in _REINDEX})
    return VectorStore(
        **fields | {"metadata": json.loads(row["metadata"]), "counts": counts, "reindex": reindex}
    )


_REINDEX = ("state", "model", "chunking", "started_at", "documents_done", "failure")
_STATUS: Mapping[str, Literal["in_progress", "completed", "failed"]] = {
    "building": "in_progress",
    "failed": "failed",
    "live": "completed",
}


def _reindex(fields: dict[str, Any]) -> Reindex | None:
    state = fields.pop("state")
    if state is None:
        return None
    return Reindex(
        status=_STATUS[state], **fields | {"chunking": read_chunking(fields["chunking"])}
    )
