"""An upstream that does what upstreams do on their worst day: raw bytes on a raw socket."""

import asyncio
import contextlib
import itertools
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Play = Callable[["Line"], Awaitable[None]]


@dataclass
class Line:
    """One connection to whoever asks; the request has been read."""

    writer: asyncio.StreamWriter

    async def head(self, status: str = "200 OK", *headers: str, kind: str = "") -> None:
        """Begin an answer of chunks."""
        lines = [
            f"HTTP/1.1 {status}",
            f"content-type: {kind or 'text/event-stream'}",
            "transfer-encoding: chunked",
            "connection: close",
            *headers,
        ]
        await self.raw("\r\n".join(lines).encode() + b"\r\n\r\n")

    async def send(self, *parts: bytes) -> None:
        """Send each as an HTTP chunk in a packet of its own."""
        for part in parts:
            await self.raw(f"{len(part):x}\r\n".encode() + part + b"\r\n")

    async def end(self) -> None:
        """Finish the answer as HTTP demands."""
        await self.raw(b"0\r\n\r\n")

    async def raw(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        """Break the connection with a RST; what was sent may be lost."""
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@dataclass
class Faulty:
    """The upstream: what it does with each request, and how often it was asked."""

    url: str = ""
    play: Play = field(default=lambda _: asyncio.sleep(0))
    asked: int = 0

    def says(self, wire: bytes, cuts: Sequence[int] = (), *, end: bool = True) -> None:
        """Answer with these bytes, cut into packets, then end in good order or not at all."""

        async def play(line: Line) -> None:
            await line.head()
            edges = [0, *sorted(cuts), len(wire)]
            await line.send(*(wire[a:b] for a, b in itertools.pairwise(edges) if a < b))
            if end:
                await line.end()

        self.play = play

    def answers(
        self, status: str, body: bytes, *headers: str, kind: str = "application/json"
    ) -> None:
        """Answer at once."""

        async def play(line: Line) -> None:
            await line.head(status, *headers, kind=kind)
            await line.send(body)
            await line.end()

        self.play = play


@asynccontextmanager
async def play_faulty() -> AsyncIterator[Faulty]:
    """Listen until the context ends; every connection serves one request."""
    faulty = Faulty()
    lines: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if task := asyncio.current_task():
            lines.add(task)
        gone = (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError)
        with contextlib.suppress(*gone):
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            faulty.asked += 1
            await faulty.play(Line(writer))
        writer.close()
        with contextlib.suppress(*gone):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    faulty.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    yield faulty
    server.close()
    for task in lines:
        task.cancel()
    await asyncio.gather(*lines, return_exceptions=True)
