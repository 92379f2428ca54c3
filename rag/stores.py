"""Vector stores and the files in them. A store's file in progress is a job for `rag.ingest`."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import asyncpg

from config.postgres import Connection, load_queries, tenant_transaction
from config.scope import TenantScope
from rag.errors import NotAllowed, NotFound
from rag.files import Order, find_file, storable
from rag.lexicon import forget_document

_SQL = load_queries("rag", "stores.sql")

Status = Literal["in_progress", "completed", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class FileCounts:
    """How many of a store's files are in which state."""

    in_progress: int
    completed: int
    failed: int
    cancelled: int

    @property
    def total(self) -> int:
        """Return how many there are."""
        return self.in_progress + self.completed + self.failed + self.cancelled


@dataclass(frozen=True, slots=True)
class VectorStore:
    """A knowledge base; `usage_bytes` is the text it searches, `created_at` is in UTC."""

    id: str
    name: str
    metadata: Mapping[str, str]
    usage_bytes: int
    created_at: datetime
    counts: FileCounts


@dataclass(frozen=True, slots=True)
class IngestError:
    """Why a file failed: OpenAI's `last_error`, the message made for the file's owner."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class StoreFile:
    """A file in a store; `id` is the file's own, `created_at` (UTC) is when it was attached."""

    id: str
    vector_store_id: str
    status: Status
    usage_bytes: int
    created_at: datetime
    last_error: IngestError | None = field(default=None)


async def create_store(
    db: asyncpg.Pool,
    scope: TenantScope,
    *,
    name: str = "",
    metadata: Mapping[str, str] | None = None,
) -> VectorStore:
    """Make an empty store.

    Raises:
        NotAllowed: The caller is limited to some stores.
    """
    if scope.allowed.vector_stores is not None:
        raise NotAllowed(
            "this client is limited to some vector stores and can't make others:"
            " have one made by a client that is not, and allowed to this one"
        )
    id_ = f"vs_{secrets.token_hex(12)}"
    pairs = {storable(key): storable(value) for key, value in (metadata or {}).items()}
    values = json.dumps(pairs, ensure_ascii=False)
    async with tenant_transaction(db, scope.tenant) as con:
        await con.execute(_SQL["insert_store"], id_, scope.tenant, storable(name), values)
        return await _find_store(con, scope, id_)


async def get_store(db: asyncpg.Pool, scope: TenantScope, store_id: str) -> VectorStore:
    """Return a store.

    Raises:
        NotFound: The caller has no such store.
    """
    async with tenant_transaction(db, scope.tenant) as con:
        return await _find_store(con, scope, store_id)


async def list_stores(
    db: asyncpg.Pool,
    scope: TenantScope,
    *,
    limit: int = 20,
    after: str | None = None,
    order: Order = "desc",
) -> list[VectorStore]:
    """Return up to `limit` stores by age, those behind the store `after` when it is given.

    Raises:
        NotFound: There is no store `after`.
    """
    query = _SQL["ids_newest_first" if order == "desc" else "ids_oldest_first"]
    seen_by = _seen_by(scope)
    async with tenant_transaction(db, scope.tenant) as con:
        last = await _find_store(con, scope, after) if after else None
        created_at = last.created_at if last else None
        ids = [row["id"] for row in await con.fetch(query, *seen_by, created_at, after, limit)]
        rows = {row["id"]: row for row in await con.fetch(_SQL["get_stores"], *seen_by, ids)}
    return [_store(rows[id_]) for id_ in ids if id_ in rows]


async def delete_store(db: asyncpg.Pool, scope: TenantScope, store_id: str) -> None:
    """Delete a store and everything read into it; the files themselves stay.

    Raises:
        NotFound: The caller has no such store.
    """
    async with tenant_transaction(db, scope.tenant) as con:
        done = await con.execute(_SQL["delete_store"], *_seen_by(scope), storable(store_id))
    if done == "DELETE 0":
        raise NotFound("vector store", store_id)


async def add_file(db: asyncpg.Pool, scope: TenantScope, store_id: str, file_id: str) -> StoreFile:
    """Attach a file, to be read by the job worker; again only where that failed.

    Raises:
        NotFound: The caller has no such store or file.
    """
    try:
        async with tenant_transaction(db, scope.tenant) as con:
            await _find_store(con, scope, store_id)
            await find_file(con, scope, file_id)
            await con.execute(_SQL["add_file"], store_id, file_id)
            await con.execute(_SQL["wake_ingest"])
            return await _find_store_file(con, scope, store_id, file_id)
    except asyncpg.ForeignKeyViolationError as error:  # deleted since we looked
        raise NotFound("vector store or file", f"{store_id}, {file_id}") from error


async def get_store_file(
    db: asyncpg.Pool, scope: TenantScope, store_id: str, file_id: str
) -> StoreFile:
    """Return a file of a store.

    Raises:
        NotFound: The caller has no such store, or it no such file.
    """
    async with tenant_transaction(db, scope.tenant) as con:
        return await _find_store_file(con, scope, store_id, file_id)


async def list_store_files(
    db: asyncpg.Pool,
    scope: TenantScope,
    store_id: str,
    *,
    limit: int = 20,
    after: str | None = None,
    order: Order = "desc",
) -> list[StoreFile]:
    """Return up to `limit` files of a store by the time they were attached.

    Raises:
        NotFound: There is no such store, or no file `after` in it.
    """
    query = _SQL["files_newest_first" if order == "desc" else "files_oldest_first"]
    async with tenant_transaction(db, scope.tenant) as con:
        store = await _find_store(con, scope, store_id)
        last = await _find_store_file(con, scope, store_id, after) if after else None
        created_at = last.created_at if last else None
        rows = await con.fetch(query, *_seen_by(scope), store.id, created_at, after, limit)
    return [_store_file(row) for row in rows]


async def remove_file(db: asyncpg.Pool, scope: TenantScope, store_id: str, file_id: str) -> None:
    """Take a file out of a store, also while it is being read; the file itself stays.

    Raises:
        NotFound: The caller has no such store, or it no such file.
    """
    async with tenant_transaction(db, scope.tenant) as con:
        await _find_store_file(con, scope, store_id, file_id)
        await forget_document(con, store_id, file_id)


async def _find_store(con: Connection, scope: TenantScope, store_id: str) -> VectorStore:
    row = await con.fetchrow(_SQL["get_stores"], *_seen_by(scope), [storable(store_id)])
    if row is None:
        raise NotFound("vector store", store_id)
    return _store(row)


async def _find_store_file(
    con: Connection, scope: TenantScope, store_id: str, file_id: str
) -> StoreFile:
    ids = storable(store_id), storable(file_id)
    row = await con.fetchrow(_SQL["get_store_file"], *_seen_by(scope), *ids)
    if row is None:
        raise NotFound("vector store file", file_id)
    return _store_file(row)


def _seen_by(scope: TenantScope) -> tuple[str, frozenset[str] | None]:
    return scope.tenant, scope.allowed.vector_stores


def _store(row: asyncpg.Record) -> VectorStore:
    counts = FileCounts(row["in_progress"], row["completed"], row["failed"], row["cancelled"])
    metadata = json.loads(row["metadata"])
    return VectorStore(
        row["id"], row["name"], metadata, row["usage_bytes"], row["created_at"], counts
    )


def _store_file(row: asyncpg.Record) -> StoreFile:
    error = None
    if row["error_code"]:
        error = IngestError(row["error_code"], row["error_message"])
    return StoreFile(
        *(row["id"], row["vector_store_id"], row["status"], row["usage_bytes"]),
        row["created_at"],
        error,
    )
