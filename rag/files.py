"""Uploaded files: their rows. Their bytes are in PostgreSQL too, or in a bucket (`rag.storage`)."""

import asyncio
import re
import secrets
import unicodedata
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import asyncpg

from config.postgres import Connection, load_queries, tenant_transaction
from config.scope import TenantScope
from rag.blobs import Blob, Incoming
from rag.errors import NotAllowed, NotFound
from rag.lexicon import forget_document
from rag.paging import Cursor, ListQueries, Place, read_page
from rag.storage import IN_POSTGRES, Storage

_SQL = load_queries("rag", "files.sql")
_MAX_NAME_CHARS = 255
_LIST = ListQueries(_SQL["newest_first"], _SQL["oldest_first"])
_FIRST_PAGE = Cursor()


@dataclass(frozen=True, slots=True)
class StoredFile:
    """An uploaded file without its bytes; times are in UTC.

    Attributes:
        client: Who uploaded it.
        expires_at: When it is gone; None for never.
    """

    id: str
    client: str
    filename: str
    bytes: int
    purpose: str
    created_at: datetime
    expires_at: datetime | None


async def create_file(
    db: asyncpg.Pool,
    scope: TenantScope,
    *,
    filename: str,
    purpose: str,
    parts: AsyncIterator[bytes],
    expires_after_s: float | None = None,
    storage: Storage = IN_POSTGRES,
) -> StoredFile:
    """Store a file as it arrives: there is none until all its bytes are stored.

    Of `filename` only the last path part is kept, without control characters, cut to 255.

    Raises:
        FilesUnavailable: The bucket can't be used.
    """
    async with (
        receive_file(db, scope, parts, storage) as incoming,
        tenant_transaction(db, scope.tenant) as con,
    ):
        return await insert_file(
            con,
            scope,
            incoming,
            filename=filename,
            purpose=purpose,
            expires_after_s=expires_after_s,
        )


@dataclass(frozen=True, slots=True)
class IncomingFile:
    """A file whose bytes are stored, or will be in the transaction that inserts its row."""

    id: str
    content: Incoming


@asynccontextmanager
async def receive_file(
    db: asyncpg.Pool,
    scope: TenantScope,
    parts: AsyncIterator[bytes],
    storage: Storage = IN_POSTGRES,
) -> AsyncIterator[IncomingFile]:
    """Take a file's bytes, whose row is to be inserted within this context.

    Raises:
        FilesUnavailable: The bucket can't be used.
    """
    id_ = f"file-{secrets.token_hex(12)}"
    async with storage.new.receive(db, scope.tenant, id_, parts) as content:
        yield IncomingFile(id_, content)


async def insert_file(
    con: Connection,
    scope: TenantScope,
    incoming: IncomingFile,
    *,
    filename: str,
    purpose: str,
    expires_after_s: float | None = None,
) -> StoredFile:
    """Insert the row of a file, inside a transaction of its tenant.

    Of `filename` only the last path part is kept, without control characters, cut to 255.
    """
    id_, content = incoming.id, incoming.content
    values = scope.tenant, scope.client, clean_name(filename), purpose, expires_after_s
    await con.execute(_SQL["insert_file"], id_, *values, content.object)
    measure = await content.settle(con, id_)
    row = await con.fetchrow(_SQL["set_bytes"], id_, measure.size, measure.sha256)
    assert row is not None  # noqa: S101 - inserted above
    return StoredFile(**row)


async def get_file(db: asyncpg.Pool, scope: TenantScope, file_id: str) -> StoredFile:
    """Return a file.

    Raises:
        NotFound: The caller has no such file.
    """
    async with tenant_transaction(db, scope.tenant) as con:
        return await find_file(con, scope, file_id)


async def find_file(con: Connection, scope: TenantScope, file_id: str) -> StoredFile:
    """Return a file, inside a transaction of its tenant.

    Raises:
        NotFound: The caller has no such file.
    """
    return (await find_files(con, scope, [file_id]))[0]


async def find_files(
    con: Connection, scope: TenantScope, file_ids: Sequence[str]
) -> list[StoredFile]:
    """Return files in the order asked for, inside a transaction of their tenant.

    Raises:
        NotFound: The caller has no such file; names the first that is missing.
    """
    ids = {file_id: storable(file_id) for file_id in file_ids}
    rows = await con.fetch(_SQL["get_files"], *_seen_by(scope), list(ids.values()))
    found = {row["id"]: row for row in rows}
    for file_id, stored in ids.items():
        if stored not in found:
            raise NotFound("file", file_id)
    return [StoredFile(**found[ids[file_id]]) for file_id in file_ids]


async def list_files(
    db: asyncpg.Pool,
    scope: TenantScope,
    cursor: Cursor = _FIRST_PAGE,
    *,
    purpose: str | None = None,
) -> list[StoredFile]:
    """Return a page of the files the caller may see, by age.

    Raises:
        NotFound: There is no file that the cursor names.
    """
    async with tenant_transaction(db, scope.tenant) as con:
        find = partial(_place, con, scope)
        rows = await read_page(con, _LIST, cursor, find, *_seen_by(scope), purpose)
    # A page may be of ten thousand.
    return await asyncio.to_thread(lambda: [StoredFile(**row) for row in rows])


async def delete_file(db: asyncpg.Pool, scope: TenantScope, file_id: str) -> None:
    """Delete a file, and what was read from it out of every store.

    Raises:
        NotFound: The caller has no such file.
        NotAllowed: It is limited to some vector stores, and another client uploaded the file.
    """
    async with tenant_transaction(db, scope.tenant) as con:
        file = await find_file(con, scope, file_id)
        if scope.allowed.vector_stores is not None and file.client != scope.client:
            raise NotAllowed(
                "another client uploaded this file, and other vector stores may need it:"
                " take it out of yours instead"
            )
        await forget_file(con, scope.tenant, file_id)


async def forget_file(con: Connection, tenant: str, file_id: str) -> None:
    """Remove a file and what was read from it, inside a transaction of its tenant."""
    for row in await con.fetch(_SQL["stores_of_file"], tenant, file_id):
        await forget_document(con, row["store_id"], file_id)
    await con.execute(_SQL["delete_file"], tenant, file_id)


async def read_file(
    db: asyncpg.Pool, scope: TenantScope, file_id: str, storage: Storage = IN_POSTGRES
) -> AsyncIterator[bytes]:
    """Yield a file's bytes, some MiB at most at once.

    Raises:
        NotFound: The caller has no such file; raised at the first step.
        FilesUnavailable: Its bucket can't be used; raised at any step.
    """
    async with tenant_transaction(db, scope.tenant) as con:
        file = await find_file(con, scope, file_id)
        blob = Blob(file.id, file.bytes, await con.fetchval(_SQL["get_object"], file.id))
    async for part in storage.of(blob).read(db, scope.tenant, blob):
        yield part


def clean_name(filename: str) -> str:
    """Return the last path part without control characters, cut to 255 but for its extension."""
    name = re.split(r"[/\\]", filename)[-1]
    name = "".join(c for c in name if unicodedata.category(c) not in ("Cc", "Cf", "Cs")).strip()
    if name in ("", ".", ".."):
        return "unnamed"
    stem, dot, extension = name.rpartition(".")
    if len(name) > _MAX_NAME_CHARS and dot and len(extension) <= 10:
        return stem[: _MAX_NAME_CHARS - len(extension) - 1] + dot + extension
    return name[:_MAX_NAME_CHARS]


def storable(text: str) -> str:
    """Return text from outside as PostgreSQL takes it: NUL and lone surrogates are replaced."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def comparable(text: str) -> str:
    """Return a text of an attribute as it is stored and compared: composed.

    What macOS names a file and a user types are the same Hangul in other code points.
    """
    return unicodedata.normalize("NFC", storable(text))


async def _place(con: Connection, scope: TenantScope, file_id: str) -> Place:
    file = await find_file(con, scope, file_id)
    return file.created_at, file.id


def _seen_by(scope: TenantScope) -> tuple[str, frozenset[str] | None, str]:
    return scope.tenant, scope.allowed.vector_stores, scope.client
