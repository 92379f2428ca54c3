"""The server's HTTP protocol with what it lacks: bounds, errors like ours, and the server's end."""

import asyncio
from collections.abc import Mapping
from functools import partial
from operator import itemgetter
from typing import Any

import msgspec
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from gateway.errors import SHUTDOWN, GatewayError, HeadTooLarge, InvalidRequest, describe
from gateway.heads import forget_sends, keep_sends
from gateway.ids import new_id
from gateway.request_ids import request_id

MAX_HEAD_BYTES = 65_536
"""Request line and headers together; an access token is up to 24,576 characters of it."""

CLOSE = (b"connection", b"close")
_WHOLE_BYTES = 65_536
_NAME = itemgetter(0)
# Of a name and its value; `map` does it for all of them at the speed of C.
_LINE, _SENT_LINE = "%s: %s\r\n".__mod__, b"%b: %b\r\n".__mod__


class BoundedProtocol(HttpToolsProtocol):
    """Ends a connection that sends much without a request or a part of a body coming of it.

    That is a head without end, or trailers, which uvicorn would gather in memory before anybody is
    asked for credentials.
    """

    _gathered = 0
    _fault = "the request is not valid HTTP/1.1"

    def data_received(self, data: bytes) -> None:
        """Parse what came; what came at once, up to some 256 kB, is parsed as a whole."""
        if self.transport.is_closing():
            return
        self._gathered += len(data)
        super().data_received(data)
        if self._gathered > MAX_HEAD_BYTES and not self.transport.is_closing():
            message = f"the request line and headers are longer than {MAX_HEAD_BYTES} bytes"
            self._end(HeadTooLarge(message, code="head_too_large"))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; what uvicorn asks of each is asked once, where all are there."""
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Take a head; of HTTP/1.1 it names one host (RFC 9112 section 3.2)."""
        names = [*map(_NAME, self.headers)]
        if b"expect" in names:
            told = [value.lower() for name, value in self.headers if name == b"expect"]
            self.expect_100_continue = b"100-continue" in told
        if names.count(b"host") != 1 and self.parser.get_http_version() == "1.1":
            self._fault = "the request needs one Host header"
            raise ValueError(self._fault)  # which ends the parser
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of a body."""
        self._gathered = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Take the end of a request."""
        self._gathered = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what the parser does not take, and end the connection."""
        del msg  # it is always the same
        self._end(InvalidRequest(self._fault))

    def _end(self, error: GatewayError) -> None:
        status, headers, body = _told(error, new_id())
        lines = map(_SENT_LINE, (*headers, CLOSE))
        self.transport.write(b"".join((STATUS_LINE[status], *lines, b"\r\n", body)))
        self.transport.close()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:  # noqa: ANN401
        super()._start_asgi_task(cycle, partial(_told_of_the_end, cycle, app))


async def _told_of_the_end(
    cycle: RequestResponseCycle,
    app: Any,  # noqa: ANN401 - uvicorn's own type of an application
    scope: Any,  # noqa: ANN401
    receive: Any,  # noqa: ANN401
    send: Any,  # noqa: ANN401
) -> None:
    """Answer 503 where the server ends before a request had an answer."""
    keep_sends(scope, send, partial(_send_whole, cycle))
    try:
        await app(scope, receive, send)
    except asyncio.CancelledError:
        if not cycle.response_started:
            await _refuse(scope, send)
    finally:
        forget_sends(scope)


def _send_whole(
    cycle: RequestResponseCycle, status: int, head: Mapping[str, str], body: bytes
) -> bool:
    """Do what uvicorn's `send` does with a head and a body, at once and without its checks.

    Not where the client is slow or gone, or the connection is to be closed.
    """
    if cycle.flow.write_paused or cycle.disconnected or not cycle.keep_alive:
        return False
    defaults = cycle.default_headers
    if cycle.response_started or CLOSE in defaults or len(body) > _WHOLE_BYTES:
        return False
    lines = "".join(map(_LINE, head.items())).encode("ascii")
    cycle.response_started = cycle.response_complete = True
    sent = (STATUS_LINE[status], *map(_SENT_LINE, defaults), lines, b"\r\n", body)
    cycle.transport.write(b"".join(sent))
    cycle.message_event.set()
    cycle.on_response()
    return True


async def _refuse(scope: Any, send: Any) -> None:  # noqa: ANN401
    status, headers, body = _told(SHUTDOWN, request_id(scope))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _told(error: GatewayError, known_as: str) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Return status, head and body that tell of an error where there is no application to."""
    answer = describe(error)
    body = msgspec.json.encode(answer.body)
    told = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        "x-request-id": known_as,
        **answer.headers,
    }
    return answer.status, [(name.encode(), value.encode()) for name, value in told.items()], body
