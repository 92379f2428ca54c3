"""Server-sent events, both ways: reading an upstream's, writing ours.

WHATWG HTML §9.2. Ours: `data: {json}`, comments while nothing happens, `[DONE]` last; an error
after the first byte is an in-band frame and the stream closes without `[DONE]`.
"""

import asyncio
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
from litestar import Response
from litestar.types import ASGIApp, Receive, Scope, Send

from config.tasks import end_task
from gateway.errors import SHUTDOWN, ClientGone, describe
from gateway.heads import server_send
from gateway.observe import metrics
from gateway.presence import Attended

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"
_MAX_EVENT_BYTES = 4_000_000
KEEP_ALIVE_S = 15.0
_DONE = b"data: [DONE]\n\n"
_KEEP_ALIVE = b": keep-alive\n\n"
_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


class EventReader:
    """Reads events however their bytes are split.

    An event whose last line is cut off is dropped, as the standard says.
    """

    __slots__ = ("_after_cr", "_data", "_first", "_rest", "_size")

    def __init__(self) -> None:
        self._data: list[bytes] = []
        self._size = 0
        self._rest = bytearray()
        self._first = True
        self._after_cr = False

    def feed(self, part: bytes) -> list[bytes]:
        """Return the data of each event that has any and ends in this part.

        Raises:
            ValueError: An event is longer than 4 MB.
        """
        if not (self._rest or self._data or self._after_cr) and (plain := _plain_events(part)):
            self._first = False
            return plain
        return [event for line in self._lines(part) if (event := self._take(line)) is not None]

    def end(self) -> list[bytes]:
        """Return the last event, whose empty line never came."""
        return [b"\n".join(self._data)] if any(self._data) else []

    def _take(self, line: bytes) -> bytes | None:
        """Take a line; return the event that it ends."""
        if line.startswith(b"data:"):
            self._data.append(line[5:].removeprefix(b" "))
            self._size += len(line)
            _check_length(self._size)
        elif not line:
            data, self._data, self._size = self._data, [], 0
            return b"\n".join(data) if any(data) else None
        return None

    def _lines(self, part: bytes) -> list[bytes]:
        """Return the lines that are whole now."""
        # A CR ends its line at once: should an LF follow, it belongs to that same end.
        text = part[1:] if self._after_cr and part.startswith(b"\n") else part
        self._after_cr = part.endswith(b"\r") or (self._after_cr and not part)
        *lines, unfinished = _LINE_END.split(text)
        if lines:
            lines[0] = bytes(self._rest) + lines[0]
            self._rest.clear()
            if self._first:
                lines[0] = lines[0].removeprefix(_BOM)
                self._first = False
        self._rest += unfinished
        _check_length(len(self._rest))
        return lines


def _plain_events(part: bytes) -> list[bytes] | None:
    """Return the events of a part that is whole ones of a line each: nearly all of them are."""
    if not (part.startswith(b"data: {") and part.endswith(b"}\n\n")) or b"\r" in part:
        return None
    events = part[6:-2].split(b"\n\ndata: ")
    return None if any(b"\n" in event for event in events) else events


async def read_events(parts: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """Yield the data of each event that has any, however the bytes are split.

    Raises:
        ValueError: An event is longer than 4 MB.
    """
    reader = EventReader()
    async for part in parts:
        for event in reader.feed(part):
            yield event
    for event in reader.end():
        yield event


def _check_length(size: int) -> None:
    if size > _MAX_EVENT_BYTES:
        raise ValueError("an event is too long")


def data(payload: bytes) -> bytes:
    """Return one frame of `payload`, which is JSON and so holds no line end."""
    return b"data: " + payload + b"\n\n"


def event(name: str, payload: bytes) -> bytes:
    """Return one frame with an event name."""
    return b"event: " + name.encode() + b"\ndata: " + payload + b"\n\n"


@dataclass(frozen=True, slots=True)
class Frame:
    """An event that may be told again; `payload` is JSON and so holds no line end."""

    payload: bytes
    name: str | None = None

    def encode(self, id_: str | None = None) -> bytes:
        """Return it as it is sent, with what a client sends back as `Last-Event-ID`."""
        told = event(self.name, self.payload) if self.name else data(self.payload)
        return told if id_ is None else b"id: " + id_.encode() + b"\n" + told


def comment(words: bytes) -> bytes:
    """Return a comment: readers of the stream pass over it."""
    return b": " + words + b"\n\n"


class Frames(Protocol):
    """What an event stream is made of."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Return itself."""
        ...

    async def aclose(self) -> None:
        """End what makes them."""
        ...


class EventStream(Response[Any]):
    """An answer that sends frames as they come.

    When the client goes away, or the server ends, the frames are closed. `encode` makes frames of
    what they are, `on_error` the in-band frame; by default OpenAI's error object. `done` is what a
    stream that ended well says at last.
    """

    def __init__(
        self,
        frames: Frames,
        headers: Mapping[str, str] | None = None,
        on_error: Callable[[bytes], bytes] = data,
        *,
        encode: Callable[[bytes], bytes] = bytes,
        done: bytes = _DONE,
    ) -> None:
        super().__init__(content=None)
        self._frames = frames
        self._encoded = [(k.encode(), v.encode("latin-1")) for k, v in (headers or {}).items()]
        self._on_error = on_error
        self._encode = encode
        self._done = done
        self._last_sent = time.monotonic()
        self._commenting: asyncio.Task[None] | None = None
        self._open = False

    def to_asgi_response(self, *_: object, **__: object) -> ASGIApp:  # type: ignore[override]
        """Return the answer as the framework sends it: it is its own ASGI application."""
        return self

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request."""
        metrics.STREAMS_OPEN.add(1)
        self._send_body = server_send(scope, send)
        self._keep_alive()
        try:
            with Attended(receive):
                await self._send(send)
        except ClientGone:
            return  # nobody sees how it ended
        except asyncio.CancelledError:
            # The server ends, and its grace time is over.
            await self._close(self._failure(SHUTDOWN))
            raise
        finally:
            metrics.STREAMS_OPEN.add(-1)
            self._timer.cancel()
            if self._commenting:
                await end_task(self._commenting)

    async def _send(self, send: Send) -> None:
        headers = _HEADERS + self._encoded
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        self._open = True
        try:
            async for frame in self._frames:
                await self._body(self._encode(frame))
            last = self._done
        except Exception as error:  # noqa: BLE001 - the status is sent: the error goes in-band
            last = self._failure(error)
        finally:
            await self._frames.aclose()
        await self._close(last)

    def _failure(self, error: Exception) -> bytes:
        return self._on_error(msgspec.json.encode(describe(error).body))

    async def _close(self, last: bytes) -> None:
        if self._open:
            self._open = False
            await self._body(last, more=False)

    async def _body(self, body: bytes, *, more: bool = True) -> None:
        self._last_sent = time.monotonic()
        await self._send_body({"type": "http.response.body", "body": body, "more_body": more})

    async def _comment(self) -> None:
        if self._open:
            await self._body(_KEEP_ALIVE)

    def _keep_alive(self) -> None:
        """Send a comment after every 15 s of silence; upstream timers do not see it."""
        loop = asyncio.get_running_loop()
        silence = time.monotonic() - self._last_sent
        if silence >= KEEP_ALIVE_S:
            if self._commenting is None or self._commenting.done():
                self._commenting = loop.create_task(self._comment())
            silence = 0.0
        self._timer = loop.call_later(max(KEEP_ALIVE_S - silence, 0.0), self._keep_alive)
