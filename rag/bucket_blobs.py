"""The bytes of files in a bucket.

An object is written down in `stray_objects` before it is sent, and struck out in the transaction
that makes its file; the deletion of a file writes it down again. So whatever breaks off, an object
that no file names is known, and `rag.stray_objects` removes it.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg
import obstore
import obstore.store

from config.bucket_client import BUCKET_FAULTS, bucket_fault, check_bucket
from config.postgres import UNREACHABLE, Connection, load_queries, tenant_transaction
from rag.blobs import Blob, Incoming, Measure, Measured
from rag.errors import FilesUnavailable

_SQL = load_queries("rag", "stray_objects.sql")
_log = logging.getLogger(__name__)

_FETCH_BYTES = 4 << 20
_SEND_BYTES = 5 << 20  # the least that S3 takes as a part
_SENT_AT_ONCE = 2  # parts of one file
_FILES_AT_ONCE = 8  # sent by one process: each holds some parts in memory
_CALL_S = 30.0
_SEND_S = 1800.0  # well under the hour after which an object without a file is removed
_GIVE_UP_S = 5.0


class BucketBlobs:
    """In a bucket, as `TENANT/FILE`. Every request of it has a timeout.

    Each method raises FilesUnavailable where the bucket can't be used.
    """

    def __init__(self, bucket: obstore.store.S3Store) -> None:
        self._bucket = bucket
        self._sending = asyncio.Semaphore(_FILES_AT_ONCE)

    @asynccontextmanager
    async def receive(
        self, db: asyncpg.Pool, tenant: str, file_id: str, parts: AsyncIterator[bytes]
    ) -> AsyncIterator[Incoming]:
        """Send the bytes, before there is a row; what comes to no row is removed."""
        key = f"{tenant}/{file_id}"
        async with tenant_transaction(db, tenant) as con:
            await con.execute(_SQL["announce"], key)
        try:
            yield _Sent(key, await self._send(key, Measured(parts)))
        except BaseException:
            await self._give_up(db, tenant, key)
            raise

    async def read(self, db: asyncpg.Pool, tenant: str, blob: Blob) -> AsyncIterator[bytes]:
        """Yield a file's bytes, 4 MiB at most at once.

        A request for each part: none is open for as long as a slow reader takes.
        """
        del db, tenant
        key = blob.object or ""
        for start in range(0, blob.size, _FETCH_BYTES):
            length = min(_FETCH_BYTES, blob.size - start)
            async with _asking(_CALL_S):
                part = await obstore.get_range_async(self._bucket, key, start=start, length=length)
            if len(part) != length:
                raise FilesUnavailable("an object in the bucket is shorter than its file")
            yield bytes(part)

    async def remove(self, keys: list[str]) -> None:
        """Remove objects, 1000 at most; those that are not there are no fault."""
        async with _asking(_CALL_S):
            await obstore.delete_async(self._bucket, keys)

    async def check(self) -> None:
        """Return when the bucket answers."""
        async with _asking(_CALL_S):
            await check_bucket(self._bucket)

    async def _send(self, key: str, parts: Measured) -> Measure:
        try:
            async with _asking(_SEND_S), self._sending:
                await self._put(key, _guarded(parts))
        except _SourceBroke as broken:
            raise broken.error from None
        return parts.measure

    async def _put(self, key: str, pieces: AsyncIterator[bytes]) -> None:
        """Send a small file in one request, a long one in parts as they come."""
        head = bytearray()
        async for piece in pieces:
            head += piece
            if len(head) >= _SEND_BYTES:
                break
        first = bytes(head)
        await obstore.put_async(
            self._bucket,
            key,
            first if len(first) < _SEND_BYTES else _joined(first, pieces),
            chunk_size=_SEND_BYTES,
            max_concurrency=_SENT_AT_ONCE,
        )

    async def _give_up(self, db: asyncpg.Pool, tenant: str, key: str) -> None:
        """Remove what has no row. Whatever fails is left to the sweep.

        The object stays written down: a request that was broken off may yet arrive.
        """
        with contextlib.suppress(FilesUnavailable, *UNREACHABLE):
            async with asyncio.timeout(_GIVE_UP_S):
                async with tenant_transaction(db, tenant) as con:
                    # Whether the row is there is not for us to say: a commit can succeed unheard.
                    given_up = await con.fetchval(_SQL["give_up"], key)
                    # Or the sweep had struck it out before its bytes arrived.
                    stray = given_up or await con.fetchval(_SQL["write_down_again"], key)
                if stray:
                    await self.remove([key])


class _SourceBroke(Exception):
    """The source of an upload failed, with an error that shall not be taken for the bucket's."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


@dataclass(frozen=True, slots=True)
class _Sent:
    """Bytes that are in the bucket."""

    object: str
    measure: Measure

    async def settle(self, con: Connection, file_id: str) -> Measure:
        del file_id
        if not await con.fetchval(_SQL["claim"], self.object):
            raise FilesUnavailable("an upload took so long that its object was removed")
        return self.measure


@asynccontextmanager
async def _asking(limit_s: float) -> AsyncIterator[None]:
    """Say of whatever goes wrong with the bucket in here that it is away."""
    try:
        async with asyncio.timeout(limit_s):
            yield
    except BUCKET_FAULTS as error:
        late = isinstance(error, TimeoutError)
        reason = "it gave no answer in time" if late else bucket_fault(error)
        _log.warning("the bucket of files can't be used: %s", reason)
        raise FilesUnavailable(reason) from None


async def _guarded(parts: Measured) -> AsyncIterator[bytes]:
    try:
        async for part in parts:
            yield part
    except Exception as error:
        raise _SourceBroke(error) from error


async def _joined(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece
