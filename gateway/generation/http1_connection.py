"""A connection to a model's server, parsed by httptools."""

import asyncio
import contextlib
import math
from collections import deque
from typing import Any

import httptools

from gateway.generation.http1_answer import MAX_WAITING_BYTES, Broken, HttpAnswer, NotHttp

MAX_HEAD_BYTES = 65_536


class Connection(asyncio.Protocol):
    """One connection: a request at a time, and between them among the `idle` ones."""

    __slots__ = (
        "_answer",
        "_begun",
        "_due",
        "_head_bytes",
        "_idle",
        "_keep_s",
        "_loop",
        "_opened",
        "_parser",
        "_paused",
        "_rings_at",
        "_timer",
        "_transport",
    )

    def __init__(self, idle: "deque[Connection]", opened: "set[Connection]", keep_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._idle = idle
        self._opened = opened
        self._keep_s = keep_s
        self._transport: asyncio.Transport | None = None
        self._answer: HttpAnswer | None = None
        self._parser: Any = None
        self._timer: asyncio.TimerHandle | None = None
        self._due = self._rings_at = math.inf
        self._paused = False
        self._begun = False
        self._head_bytes = 0

    def ask(self, head: bytes, body: bytes, deadline: float) -> HttpAnswer:
        """Send a request."""
        transport = self._transport
        assert transport, "it is open"  # noqa: S101
        self._parser = httptools.HttpResponseParser(self)
        self._begun, self._head_bytes = False, 0
        self._answer = answer = HttpAnswer(self, self._loop.create_future())
        self._end_at(deadline)
        if len(body) < MAX_HEAD_BYTES:
            transport.write(head + body)
        else:
            transport.write(head)
            transport.write(body)
        return answer

    def abort(self) -> None:
        """End it at once."""
        self._forget()
        answer, self._answer = self._answer, None
        if answer:
            answer.end(Broken("closed"))
        if self._transport:
            self._transport.abort()

    def resume(self) -> None:
        """Read on."""
        if self._paused and self._transport:
            self._paused = False
            self._transport.resume_reading()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = transport  # type: ignore[assignment]
        self._opened.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """End what is under way: an answer without a length is whole when its connection ends."""
        self._forget()
        self._opened.discard(self)
        self._transport = self._parser = None
        answer, self._answer = self._answer, None
        if answer:
            whole = exc is None and self._begun and _ends_with_connection(answer)
            answer.end(None if whole else Broken("the connection ended"))

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        if self._answer is None:
            # Nobody has asked anything.
            self.abort()
            return
        if not self._begun:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade, ValueError):
            self._fail(NotHttp("no HTTP"))
        else:
            if not self._begun and self._head_bytes > MAX_HEAD_BYTES:
                self._fail(NotHttp("a head without end"))

    def on_message_begin(self) -> None:
        """Close where an answer begins that nobody has asked for: it would be the next one's."""
        if self._answer is None:
            self.abort()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, or a trailer, which nobody reads."""
        if self._answer and not self._begun:
            self._answer.fields[name.lower()] = value

    def on_headers_complete(self) -> None:
        """Hand the answer on; one that says "go on" is none."""
        status = self._parser.get_status_code()
        if self._answer is None:
            return
        if status < 200:
            self._answer.fields.clear()
        else:
            self._begun = True
            self._answer.begin(status)

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        if self._answer is None:
            return
        self._answer.add(body)
        if self._answer.waiting_bytes > MAX_WAITING_BYTES and not self._paused:
            assert self._transport, "it is open"  # noqa: S101
            self._paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        """Be free for the next request, where the server allows that."""
        if not self._begun or self._answer is None:
            return
        answer, self._answer = self._answer, None
        answer.end()
        if self._parser.should_keep_alive() and self._transport:
            if self._paused:
                self.resume()
            self._idle.append(self)
            self._end_at(self._loop.time() + self._keep_s)
        else:
            self.abort()

    def _end_at(self, due: float) -> None:
        """End it then, unless something happens before.

        A timer that rings earlier stays, and is set anew then: few requests need one of their own.
        """
        self._due = due
        if due < self._rings_at:
            self._stop_timer()
            self._rings_at = due
            self._timer = self._loop.call_at(due, self._ring)

    def _ring(self) -> None:
        rang_at, self._rings_at = self._rings_at, math.inf
        if self._due <= rang_at:
            self._fail(TimeoutError())
        else:
            self._end_at(self._due)

    def _fail(self, error: BaseException) -> None:
        answer, self._answer = self._answer, None
        if answer:
            answer.end(error)
        self.abort()

    def _forget(self) -> None:
        """Serve no further request."""
        self._stop_timer()
        with contextlib.suppress(ValueError):
            self._idle.remove(self)

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer, self._rings_at = None, math.inf


def _ends_with_connection(answer: HttpAnswer) -> bool:
    """Tell whether the answer's end is that of its connection (RFC 9112 section 6.3)."""
    return b"content-length" not in answer.fields and b"transfer-encoding" not in answer.fields
