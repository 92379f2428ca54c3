"""An answer of a model's server while it comes: a queue between its connection and its reader."""

import asyncio
from types import TracebackType
from typing import Protocol, Self

import msgspec

from gateway.generation.gunzip import Gunzip

MAX_WAITING_BYTES = 262_144
"""Beyond this a connection is read no further until somebody takes what has come."""


class Broken(OSError):
    """The connection ended before the answer did."""


class NotHttp(ValueError):
    """What came is no HTTP answer."""


class Source(Protocol):
    """Where an answer comes from."""

    def abort(self) -> None:
        """End it at once."""
        ...

    def resume(self) -> None:
        """Read on."""
        ...


class HttpAnswer(msgspec.Struct, eq=False):
    """An answer under way. Its context closes the connection unless all of it was read.

    Attributes:
        begun: Done when its head is there.
        fields: Its headers as they came, by lower-case name; of several with one name the last.
    """

    _connection: Source | None
    begun: "asyncio.Future[None]"
    status: int = 0
    fields: dict[bytes, bytes] = {}
    waiting_bytes: int = 0
    _parts: list[bytes] = []
    _coded: Gunzip | None = None
    _ended: bool = False
    _error: BaseException | None = None
    _waiting: "asyncio.Future[None] | None" = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._connection:
            self.close()

    @property
    def headers(self) -> dict[str, str]:
        """Return its headers as text: few answers are asked for them."""
        return {k.decode("latin-1"): v.decode("latin-1") for k, v in self.fields.items()}

    @property
    def ended(self) -> bool:
        """Tell whether all of it has come and was read."""
        return self._ended and not self._parts

    def close(self) -> None:
        """Close the connection, unless it is free for another request already."""
        connection, self._connection = self._connection, None
        if connection:
            connection.abort()

    async def next(self) -> bytes:
        """Return what has come since, as soon as there is any, and b"" at the end.

        Raises:
            Broken: The connection ended before the answer.
            TimeoutError: The total time is over.
            NotHttp: What came is no HTTP.
        """
        while True:
            if self._coded and (part := self._coded.more()):
                return part
            if self._parts:
                part = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
                self._parts.clear()
                self.waiting_bytes -= len(part)
                if self._connection and self.waiting_bytes < MAX_WAITING_BYTES:
                    self._connection.resume()
                if not self._coded:
                    return part
                self._coded.feed(part)
            elif self._error:
                raise self._error
            elif self._ended:
                return b""
            else:
                self._waiting = asyncio.get_running_loop().create_future()
                try:
                    await self._waiting
                finally:
                    self._waiting = None

    async def read(self, limit: int) -> bytes:
        """Return the whole body.

        Raises:
            ValueError: It is longer than `limit` bytes.
        """
        parts, size = list[bytes](), 0
        while part := await self.next():
            size += len(part)
            if size > limit:
                raise ValueError("answer too long")
            if self._ended and not (parts or self._parts or self._coded):
                return part  # It came at once, as most do.
            parts.append(part)
        return b"".join(parts)

    def begin(self, status: int) -> None:
        """Take the end of the head."""
        self.status = status
        if b"content-encoding" in self.fields:
            self._decode(self.fields[b"content-encoding"].lower())
        if not self.begun.done():
            self.begun.set_result(None)

    def _decode(self, coding: bytes) -> None:
        if coding in (b"gzip", b"x-gzip", b"deflate"):
            # It was asked not to.
            self._coded = Gunzip()
        elif coding != b"identity":
            raise NotHttp("a content coding that nobody asked for")

    def add(self, part: bytes) -> None:
        """Take a part of the body."""
        self._parts.append(part)
        self.waiting_bytes += len(part)
        if self._waiting:
            self._wake()

    def end(self, error: BaseException | None = None) -> None:
        """Take the end; what comes first counts."""
        if self._ended or self._error:
            return
        self._connection = None
        if error is None:
            self._ended = True
        else:
            self._error = error
        if not self.begun.done():
            self.begun.set_exception(error or Broken("no answer"))
        if self._waiting:
            self._wake()

    def _wake(self) -> None:
        if self._waiting and not self._waiting.done():
            self._waiting.set_result(None)
