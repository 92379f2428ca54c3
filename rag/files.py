"""Uploaded files: their bytes live in PostgreSQL, so that one backup holds everything."""

import re
import secrets
import unicodedata
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import asyncpg

from config.postgres import Connection, load_queries, tenant_transaction
from config.scope import TenantScope
from rag.errors import NotAllowed, NotFound
from rag.lexicon import forget_document

_SQL = load_queries("rag", "files.sql")
_PART_BYTES = 1 << 20
_MAX_NAME_CHARS = 255

Order = Literal["asc", "desc"]


@dataclass(frozen=True, slots=True)
class StoredFile:
    """An uploaded file without its bytes; `client` uploaded it, `created_at` is in UTC."""

    id: str
    client: str
    filename: str
    bytes: int
    purpose: str
    created_at: datetime


async def create_file(
    db: asyncpg.Pool,
    scope: TenantScope,
    *,
    filename: str,
    purpose: str,
    parts: AsyncIterator[bytes],
) -> StoredFile:
    """Store a file as it arrives, in one transaction: when `parts` fails, nothing stays.

    Of `filename` only the last path part is kept, without control characters, cut to 255.
    """
    id_ = f"file-{secrets.token_hex(12)}"
    size = 0
    async with tenant_transaction(db, scope.tenant) as con:
        owner = scope.tenant, scope.client
        await con.execute(_SQL["insert_file"], id_, *owner, clean_name(filename), purpose)
        number = 0
        async for part in _in_parts(parts):
            await con.execute(_SQL["insert_part"], id_, number, part)
            size, number = size + len(part), number + 1
        row = await con.fetchrow(_SQL["set_bytes"], id_, size)
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
    row = await con.fetchrow(_SQL["get_file"], *_seen_by(scope), storable(file_id))
    if row is None:
        raise NotFound("file", file_id)
    return StoredFile(**row)


async def list_files(
    db: asyncpg.Pool,
    scope: TenantScope,
    *,
    limit: int = 100,
    after: str | None = None,
    order: Order = "desc",
) -> list[StoredFile]:
    """Return up to `limit` files by age, those behind the file `after` when it is given.

    Raises:
        NotFound: There is no file `after`.
    """
    query = _SQL["list_newest_first" if order == "desc" else "list_oldest_first"]
    async with tenant_transaction(db, scope.tenant) as con:
        last = await find_file(con, scope, after) if after else None
        created_at = last.created_at if last else None
        rows = await con.fetch(query, *_seen_by(scope), created_at, after, limit)
    return [StoredFile(**row) for row in rows]


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
        for row in await con.fetch(_SQL["stores_of_file"], scope.tenant, file_id):
            await forget_document(con, row["store_id"], file_id)
        await con.execute(_SQL["delete_file"], scope.tenant, file_id)


async def read_file(db: asyncpg.Pool, scope: TenantScope, file_id: str) -> AsyncIterator[bytes]:
    """Yield a file's bytes, 1 MiB at most at once.

    Raises:
        NotFound: The caller has no such file; raised at the first step.
    """
    await get_file(db, scope, file_id)
    number = 0
    while (part := await _read_part(db, scope, file_id, number)) is not None:
        yield part
        number += 1


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


async def _read_part(
    db: asyncpg.Pool, scope: TenantScope, file_id: str, number: int
) -> bytes | None:
    # A transaction for each: no connection waits while a part travels.
    async with tenant_transaction(db, scope.tenant) as con:
        part: bytes | None = await con.fetchval(_SQL["get_part"], scope.tenant, file_id, number)
    return part


def _seen_by(scope: TenantScope) -> tuple[str, frozenset[str] | None, str]:
    return scope.tenant, scope.allowed.vector_stores, scope.client


async def _in_parts(source: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    buffer = bytearray()
    async for piece in source:
        buffer += piece
        while len(buffer) >= _PART_BYTES:
            yield bytes(buffer[:_PART_BYTES])
            del buffer[:_PART_BYTES]
    if buffer:
        yield bytes(buffer)
