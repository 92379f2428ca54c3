"""The bytes of files: what a place for them does, and the one that is always there, PostgreSQL."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

import asyncpg

from config.postgres import Connection, load_queries, tenant_transaction

_SQL = load_queries("rag", "blobs.sql")
_PART_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Blob:
    """A file's bytes.

    Attributes:
        object: Its key in the bucket; None where PostgreSQL has it.
    """

    file_id: str
    size: int
    object: str | None


@dataclass(frozen=True, slots=True)
class Measure:
    """What a file's bytes came to."""

    size: int
    sha256: bytes


class Incoming(Protocol):
    """The bytes of a file that is being made."""

    @property
    def object(self) -> str | None:
        """Return the key in the bucket; None where they go into PostgreSQL."""

    async def settle(self, con: Connection, file_id: str) -> Measure:
        """Make them the file's, in the transaction that made its row."""


class Blobs(Protocol):
    """A place where files' bytes are."""

    def receive(
        self, db: asyncpg.Pool, tenant: str, file_id: str, parts: AsyncIterator[bytes]
    ) -> AbstractAsyncContextManager[Incoming]:
        """Take bytes for a file, whose row is then to be made within this context."""

    def read(self, db: asyncpg.Pool, tenant: str, blob: Blob) -> AsyncIterator[bytes]:
        """Yield a file's bytes, some MiB at most at once."""


class ObjectBlobs(Blobs, Protocol):
    """A place outside PostgreSQL, which may be away, and keeps what nobody names."""

    async def remove(self, keys: list[str]) -> None:
        """Remove objects; those that are not there are removed already."""

    async def check(self) -> None:
        """Return when it answers.

        Raises:
            FilesUnavailable: It does not.
        """


class PostgresBlobs:
    """In parts of 1 MiB, beside the file's row."""

    @asynccontextmanager
    async def receive(
        self, db: asyncpg.Pool, tenant: str, file_id: str, parts: AsyncIterator[bytes]
    ) -> AsyncIterator[Incoming]:
        """Have the parts written as they arrive, in the transaction of the file's row."""
        del db, tenant, file_id
        yield _Arriving(Measured(parts))

    async def read(self, db: asyncpg.Pool, tenant: str, blob: Blob) -> AsyncIterator[bytes]:
        """Yield a file's bytes, 1 MiB at most at once."""
        number = 0
        while (part := await self._part(db, tenant, blob.file_id, number)) is not None:
            yield part
            number += 1

    async def _part(self, db: asyncpg.Pool, tenant: str, file_id: str, number: int) -> bytes | None:
        # A transaction for each: no connection waits while a part travels.
        async with tenant_transaction(db, tenant) as con:
            part: bytes | None = await con.fetchval(_SQL["get_part"], tenant, file_id, number)
        return part


class Measured:
    """Parts of 1 MiB, measured as they pass."""

    def __init__(self, source: AsyncIterator[bytes]) -> None:
        self._source = source
        self._size = 0
        self._digest = hashlib.sha256()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in _in_parts(self._source):
            self._digest.update(part)
            self._size += len(part)
            yield part

    @property
    def measure(self) -> Measure:
        """Return what has passed so far."""
        return Measure(self._size, self._digest.digest())


@dataclass(frozen=True, slots=True)
class _Arriving:
    """Bytes that are still to come, and go into PostgreSQL."""

    parts: Measured
    object: None = None

    async def settle(self, con: Connection, file_id: str) -> Measure:
        number = 0
        async for part in self.parts:
            await con.execute(_SQL["insert_part"], file_id, number, part)
            number += 1
        return self.parts.measure


async def _in_parts(source: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    buffer = bytearray()
    async for piece in source:
        buffer += piece
        while len(buffer) >= _PART_BYTES:
            yield bytes(buffer[:_PART_BYTES])
            del buffer[:_PART_BYTES]
    if buffer:
        yield bytes(buffer)
