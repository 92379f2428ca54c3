"""Asks an HTTP service as fast as it answers, or at a rate, whatever it answers.

At a rate, each request counts from when it was due, not from when there was room to send it: a
service that stops for a second is told of every request that waited (no coordinated omission).
What is due is known to some 50 µs, where an event loop's own timers know a millisecond.
"""

import asyncio
import ctypes
import itertools
import math
import os
import random
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Self, cast
from urllib.parse import urlsplit

import httptools

_CLOCK_MONOTONIC = 1
_ABSOLUTE = 1
_PATIENCE_S = 10.0
_BEGIN_S = 120.0
_LIBC = ctypes.CDLL(None, use_errno=True)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that `share` of them do not exceed (the nearest rank); NaN of none."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    return ordered[max(0, min(len(ordered) - 1, -(-int(share * len(ordered) * 1000) // 1000) - 1))]


def arrivals(rate: float, seconds: float, seed: int = 1) -> Iterator[float]:
    """Yield when requests are due, in seconds from the beginning: independent of each other."""
    chance = random.Random(seed)
    due = chance.expovariate(rate)
    while due < seconds:
        yield due
        due += chance.expovariate(rate)


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go, and the whole requests as they are sent, in turn."""

    host: str
    port: int
    requests: tuple[bytes, ...]

    @classmethod
    def post(cls, url: str, body: bytes, headers: dict[str, str]) -> "Target":
        """Return a POST of `body`, a JSON document."""
        return cls.posts(url, [(body, headers)])

    @classmethod
    def posts(cls, url: str, asked: Iterable[tuple[bytes, dict[str, str]]]) -> "Target":
        """Return POSTs of these bodies, each with its headers."""
        content = {"content-type": "application/json"}
        return cls._made(url, [("POST", body, content | headers) for body, headers in asked])

    @classmethod
    def get(cls, url: str, headers: dict[str, str] | None = None) -> "Target":
        """Return a GET."""
        return cls._made(url, [("GET", b"", headers or {})])

    @classmethod
    def _made(cls, url: str, asked: Sequence[tuple[str, bytes, dict[str, str]]]) -> "Target":
        parts = urlsplit(url)
        host, port = parts.hostname or "127.0.0.1", parts.port or 80
        requests = []
        for method, body, headers in asked:
            lines = [f"{method} {parts.path} HTTP/1.1", f"host: {host}:{port}"]
            lines += [f"{name}: {value}" for name, value in headers.items()]
            lines += [f"content-length: {len(body)}", "", ""]
            requests.append("\r\n".join(lines).encode() + body)
        return cls(host, port, tuple(requests))


@dataclass(slots=True)
class Result:
    """What came of it. Times are in seconds.

    Attributes:
        latencies: Of whole answers with status 200, from when each was due.
        firsts: From when a stream was due to its first content.
        delays: Of each write of streamed content: from the upstream's to our reading it.
        chunks: Chunks with content.
        failures: Answers with another status (`503`), and connections that broke (`lost`).
    """

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    firsts: list[float] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)
    chunks: int = 0
    failures: dict[str, int] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Return answers a second."""
        return len(self.latencies) / self.seconds if self.seconds else 0.0

    def fail(self, what: str) -> None:
        """Count a failure."""
        self.failures[what] = self.failures.get(what, 0) + 1


class Connection(asyncio.Protocol):
    """Sends a request, reads its answer, and says when it is whole."""

    def __init__(
        self,
        requests: Iterator[bytes],
        freed: "Callable[[Connection], None]",
    ) -> None:
        self._requests, self._on_freed = requests, freed
        self._result = Result()
        self._due = self._read_at = 0.0
        self._status, self._first, self._tail = 200, True, b""
        self.busy = self.lost = False
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where requests go."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, _: Exception | None) -> None:
        """Tell whoever waits that nothing will come."""
        self.lost = True
        if self.busy:
            self._result.fail("lost")
            self._end()

    def ask(self, due: float, result: Result) -> None:
        """Send the next request, due at `due` (of the monotonic clock); it counts in `result`."""
        self.busy, self._due, self._first, self._tail = True, due, True, b""
        self._result = result
        self._transport.write(next(self._requests))

    def close(self) -> None:
        """Leave, whatever is under way."""
        self.busy = False
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Read on."""
        self._read_at = time.monotonic()
        self._parser.feed_data(data)

    def on_headers_complete(self) -> None:
        """Remember the status."""
        self._status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        """Look for when the upstream wrote what is here, and for an error in-band."""
        if self._status == 200 and b'{"error":' in body:
            self._result.fail("in-band")
        if b"@" not in body and not self._tail:
            return
        *parts, self._tail = (self._tail + body).split(b"@")
        if len(parts) % 2:  # the second `@` of a chunk is not there yet
            self._tail = parts.pop() + b"@" + self._tail
        stamps = parts[1::2]
        if not stamps:
            return
        if self._first:
            self._first = False
            self._result.firsts.append(self._read_at - self._due)
        self._result.chunks += len(stamps)
        self._result.delays.append(self._read_at - int(stamps[-1]) / 1e9)

    def on_message_complete(self) -> None:
        """Count the answer."""
        if self._status == 200:
            self._result.latencies.append(self._read_at - self._due)
        else:
            self._result.fail(str(self._status))
        if not self._parser.should_keep_alive():
            self.lost = True
            self._transport.close()
        self._end()

    def _end(self) -> None:
        self.busy = False
        self._on_freed(self)


class Load:
    """Connections to one target; those that break are replaced."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.result = Result()
        self._requests = itertools.cycle(target.requests)
        self._all: set[Connection] = set()
        self._idle: list[Connection] = []
        self._opening: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._again = False

    async def saturate(self, connections: int, seconds: float) -> Result:
        """Keep every connection busy for so long."""
        await self._open_many(connections)
        self._again = True
        began = time.monotonic()
        for connection in self._take_all():
            connection.ask(time.monotonic(), self.result)
        await asyncio.sleep(seconds)
        self._again = False
        self.result.seconds = time.monotonic() - began
        self.close()
        return self.result

    async def at_rate(self, rate: float, seconds: float, connections: int = 32) -> Result:
        """Send requests when they are due; a further connection is opened where none is free."""
        await self._open_many(connections)
        await self._send_due(rate, seconds, seed=1)
        await self._settle()
        return self.result

    async def among_streams(self, count: int, lasting: float, seconds: float) -> Result:
        """Begin streams at random, so often that `count` of them are open on average.

        Counted are those that are due in `seconds`, after as long as a stream lasts: by then as
        many are open as ever will be. They are left when the last of them has begun.
        """
        rate = count / lasting
        # More are hardly ever open: their number is Poisson's. Nobody waits for a handshake.
        await self._open_many(count + 5 * math.isqrt(count) + 5)
        await self._send_due(rate, lasting, seed=1)
        self.result = Result()
        asked = await self._send_due(rate, seconds, seed=2)
        await self._wait_for_firsts(asked, _PATIENCE_S)
        self.close()
        return self.result

    async def hold(self, count: int) -> None:
        """Begin `count` streams and leave them open until `close`; return when all have begun."""
        for _ in range(count):
            await self.begin()
        await self._wait_for_firsts(count, _BEGIN_S)

    async def begin(self) -> None:
        """Open a connection and send a request."""
        (await self._open()).ask(time.monotonic(), self.result)

    async def _send_due(self, rate: float, seconds: float, seed: int) -> int:
        """Send requests when they are due, for so long; return how many."""
        count, began = 0, time.monotonic()
        with Alarm() as alarm:
            for due in arrivals(rate, seconds, seed):
                await alarm.wait_until(began + due)
                self._send(began + due)
                count += 1
        self.result.seconds = time.monotonic() - began
        return count

    async def _wait_for_firsts(self, count: int, patience: float) -> None:
        """Return when so many have begun; what has not in time is a failure."""
        deadline = time.monotonic() + patience
        while (left := self._missing(count)) and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        for _ in range(left):
            self.result.fail("no first chunk")

    def _missing(self, count: int) -> int:
        begun = len(self.result.firsts) + sum(self.result.failures.values())
        return max(0, count - begun)

    def close(self) -> None:
        """Abort every connection."""
        for connection in self._all:
            connection.close()
        for task in self._opening:
            task.cancel()

    def _send(self, due: float) -> None:
        while self._idle:
            connection = self._idle.pop()
            if not connection.lost:
                connection.ask(due, self.result)
                return
        task = asyncio.get_running_loop().create_task(self._open_and_ask(due, self.result))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open_and_ask(self, due: float, result: Result) -> None:
        try:
            (await self._open()).ask(due, result)
        except OSError:
            result.fail("refused")

    async def _open_many(self, count: int) -> None:
        for _ in range(count):
            self._idle.append(await self._open())

    async def _open(self) -> Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            lambda: Connection(self._requests, self._freed),
            self.target.host,
            self.target.port,
        )
        self._all.add(connection)
        return connection

    def _take_all(self) -> list[Connection]:
        taken, self._idle = self._idle, []
        return taken

    def _freed(self, connection: Connection) -> None:
        if connection.lost:
            self._all.discard(connection)
            if self._again:
                self._send(time.monotonic())
        elif self._again:
            connection.ask(time.monotonic(), self.result)
        else:
            self._idle.append(connection)

    async def _settle(self) -> None:
        """Give what is under way some time; what is not there then is a failure."""
        deadline = time.monotonic() + _PATIENCE_S
        while self._busy() and time.monotonic() < deadline:  # noqa: ASYNC110 - many
            await asyncio.sleep(0.01)
        for _ in range(self._busy()):
            self.result.fail("unanswered")
        self.close()

    def _busy(self) -> int:
        return sum(connection.busy for connection in self._all) + len(self._opening)


class Alarm:
    """Wakes a task at a time known to microseconds (a Linux timerfd)."""

    def __enter__(self) -> Self:
        self._file = _LIBC.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK)
        self._rung = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._file, self._ring)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._file)
        os.close(self._file)

    async def wait_until(self, moment: float) -> None:
        """Return at once when `moment` (of the monotonic clock) is past."""
        if moment <= time.monotonic():
            return
        self._rung.clear()
        seconds, rest = divmod(int(moment * 1e9), 1_000_000_000)
        _LIBC.timerfd_settime(self._file, _ABSOLUTE, struct.pack("llll", 0, 0, seconds, rest), None)
        await self._rung.wait()

    def _ring(self) -> None:
        os.read(self._file, 8)
        self._rung.set()
