"""The files in a vector store: each with its status, and in progress until it was read."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Literal

import asyncpg

from config.postgres import Connection, load_queries, tenant_transaction
from config.scope import TenantScope
from rag.attach import Attributes, Chunking, NewFile, attach, attributes_json, read_chunking
from rag.errors import NotFound
from rag.files import storable
from rag.lexicon import forget_document
from rag.paging import Cursor, ListQueries, Place, read_page
from rag.stores import find_store, find_usable_store
from rag.types import Page

_SQL = load_queries("rag", "store_files.sql")
_LIST = ListQueries(_SQL["newest_first"], _SQL["oldest_first"])
_FIRST_PAGE = Cursor()

Status = Literal["in_progress", "completed", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class IngestError:
    """Why a file failed: OpenAI's `last_error`, the message made for the file's owner."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class StoreFile:
    """A file in a store.

    Attributes:
        id: The file's own.
        usage_bytes: Its text.
        created_at: When it was attached, in UTC.
        last_error: Where it has failed.
        attributes: What searches filter by.
        chunking: How its owner wants it cut; None leaves it to us.
        chunks_total: How many chunks it was cut into; None until that is known.
        chunks_done: How many of them have their embeddings.
    """

    id: str
    vector_store_id: str
    status: Status
    usage_bytes: int
    created_at: datetime
    last_error: IngestError | None = None
    attributes: Attributes = field(default_factory=dict)
    chunking: Chunking | None = None
    chunks_total: int | None = None
    chunks_done: int = 0


async def add_file(
    db: asyncpg.Pool, scope: TenantScope, store_id: str, file: str | NewFile
) -> StoreFile:
    """Attach a file, given with its attributes or by its id alone, to be read by the job worker.

    Raises:
        NotFound: The caller has no such store or file.
        StoreExpired: The store was not used for too long.
        AlreadyAttached: The file is there, cut in another way than is asked for.
    """
    new = NewFile(file) if isinstance(file, str) else file
    async with tenant_transaction(db, scope.tenant) as con:
        store = await find_usable_store(con, scope, store_id)
        await attach(con, scope, store.id, [new])
        return await _find(con, scope, store_id, new.id)


async def get_store_file(
    db: asyncpg.Pool, scope: TenantScope, store_id: str, file_id: str
) -> StoreFile:
    """Return a file of a store.

    Raises:
        NotFound: The caller has no such store, or it no such file.
    """
    async with tenant_transaction(db, scope.tenant) as con:
        return await _find(con, scope, store_id, file_id)


async def list_store_files(
    db: asyncpg.Pool,
    scope: TenantScope,
    store_id: str,
    cursor: Cursor = _FIRST_PAGE,
    *,
    status: Status | None = None,
) -> list[StoreFile]:
    """Return a page of a store's files, by the time they were attached.

    Raises:
        NotFound: There is no such store, or no file in it that the cursor names.
    """
    async with tenant_transaction(db, scope.tenant) as con:
        store = await find_store(con, scope, store_id)
        return await page_of_files(con, scope, store.id, cursor, status=status)


async def page_of_files(
    con: Connection,
    scope: TenantScope,
    store_id: str,
    cursor: Cursor,
    *,
    status: Status | None,
    batch_id: str | None = None,
) -> list[StoreFile]:
    """Return a page of the files of a store the caller may use, or of one of its batches.

    Raises:
        NotFound: There is no file in the store that the cursor names.
    """
    find = partial(_place, con, scope, store_id)
    rows = await read_page(con, _LIST, cursor, find, scope.tenant, store_id, status, batch_id)
    return [_store_file(row) for row in rows]


async def update_attributes(
    db: asyncpg.Pool, scope: TenantScope, store_id: str, file_id: str, attributes: Attributes
) -> StoreFile:
    """Give a file of a store these attributes in place of its own.

    Raises:
        NotFound: The caller has no such store, or it no such file.
        StoreExpired: The store was not used for too long.
    """
    async with tenant_transaction(db, scope.tenant) as con:
        await find_usable_store(con, scope, store_id)
        file = await _find(con, scope, store_id, file_id)
        values = store_id, file.id, attributes_json(attributes)
        await con.execute(_SQL["update_attributes"], *values)
        return await _find(con, scope, store_id, file_id)


async def remove_file(db: asyncpg.Pool, scope: TenantScope, store_id: str, file_id: str) -> None:
    """Take a file out of a store, also while it is being read; the file itself stays.

    Raises:
        NotFound: The caller has no such store, or it no such file.
    """
    async with tenant_transaction(db, scope.tenant) as con:
        file = await _find(con, scope, store_id, file_id)
        await forget_document(con, store_id, file.id)


async def read_content(
    db: asyncpg.Pool, scope: TenantScope, store_id: str, file_id: str
) -> list[Page] | None:
    """Return the text that was read from a file of a store, or None where it is not completed.

    It is put together from its chunks, and their offsets count in it. The white space between them
    was not kept: as much stands for it.

    Raises:
        NotFound: The caller has no such store, or it no such file.
    """
    async with tenant_transaction(db, scope.tenant) as con:
        file = await _find(con, scope, store_id, file_id)
        if file.status != "completed":
            return None
        rows = await con.fetch(_SQL["content"], store_id, file.id)
    return await asyncio.to_thread(_pages, rows)


def _pages(rows: Sequence[asyncpg.Record]) -> list[Page]:
    texts: dict[int | None, list[str]] = {}
    ends: dict[int | None, int] = {}
    for row in rows:
        page, start, end = row["page"], row["start_char"], row["end_char"]
        pieces = texts.setdefault(page, [])
        known = ends.get(page, 0)
        gap = max(start - known, 0)
        pieces.append("\n\n"[:gap].ljust(gap))
        pieces.append(row["content"][max(known - start, 0) :])
        ends[page] = max(end, known)
    return [Page(number, "".join(pieces)) for number, pieces in texts.items()]


async def _find(con: Connection, scope: TenantScope, store_id: str, file_id: str) -> StoreFile:
    ids = storable(store_id), storable(file_id)
    limits = scope.tenant, scope.allowed.vector_stores
    row = await con.fetchrow(_SQL["get_store_file"], *limits, *ids)
    if row is None:
        raise NotFound("vector store file", file_id)
    return _store_file(row)


async def _place(con: Connection, scope: TenantScope, store_id: str, file_id: str) -> Place:
    file = await _find(con, scope, store_id, file_id)
    return file.created_at, file.id


def _store_file(row: asyncpg.Record) -> StoreFile:
    fields = dict(row)
    code, message = fields.pop("error_code"), fields.pop("error_message")
    fields["last_error"] = IngestError(code, message) if code else None
    fields["attributes"] = json.loads(row["attributes"])
    fields["chunking"] = read_chunking(row["chunking"])
    return StoreFile(**fields)
