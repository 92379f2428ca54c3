"""An HTTP/1.1 client for servers of models: every token passes through it.

Why it is our own: docs/decisions/013-an-own-upstream-client.md. It sends POST requests, follows no
redirects, keeps no cookies and asks no proxy.
"""

import asyncio
import base64
import math
import re
import socket
import ssl
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self
from urllib.parse import unquote, urlsplit

import aiohappyeyeballs

from gateway.generation.http1_answer import HttpAnswer
from gateway.generation.http1_connection import Connection

_ATTEMPT_DELAY_S = 0.25
_PORTS = {"http": 80, "https": 443}
_LINE_END = re.compile(r"[\r\n\0]")


class Unreachable(OSError):
    """No connection could be made: nothing was sent."""


class Origin(NamedTuple):
    """Where a connection goes."""

    scheme: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Url:
    """Where a request goes; `head` is its first line and what every request there says."""

    origin: Origin
    head: bytes

    @classmethod
    def parse(cls, url: str) -> Self:
        """Return a URL's parts, which are ASCII.

        Raises:
            ValueError: It is no URL of HTTP.
        """
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ValueError("an http or https URL is needed")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        host = parts.netloc.rpartition("@")[2]
        lines = [f"POST {path} HTTP/1.1", f"host: {host}", "accept: */*", "user-agent: naru"]
        if parts.username is not None:
            named = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            lines.append(f"authorization: Basic {base64.b64encode(named.encode()).decode()}")
        head = "\r\n".join(lines).encode("ascii") + b"\r\n"
        port = parts.port or _PORTS[parts.scheme]
        return cls(Origin(parts.scheme, parts.hostname, port), head)


class HttpClient:
    """Connections to servers, kept for `keep_s` after an answer; closed with its context.

    With `unix_socket` all of them go there, whatever the URL says.
    """

    def __init__(
        self,
        *,
        unix_socket: str | None = None,
        trusted: ssl.SSLContext | None = None,
        keep_s: float = 15.0,
    ) -> None:
        self._unix_socket = unix_socket
        self._trusted = trusted
        self._keep_s = keep_s
        self._idle = defaultdict[Origin, deque[Connection]](deque)
        self._open = set[Connection]()

    async def post(
        self,
        url: Url,
        lines: bytes,
        body: bytes,
        *,
        connect_timeout_s: float,
        total_timeout_s: float = math.inf,
    ) -> HttpAnswer:
        """Send a request; `lines` are `header_lines`. Return the answer when its head is there.

        Raises:
            Unreachable: There was no connection in time.
            Broken: It ended before there was an answer.
            TimeoutError: The total time is over, which counts until the answer is read.
            NotHttp: What came is no HTTP.
        """
        head = b"%b%bcontent-length: %d\r\n\r\n" % (url.head, lines, len(body))
        deadline = asyncio.get_running_loop().time() + total_timeout_s
        idle = self._idle[url.origin]
        connection = idle.pop() if idle else await self._connect(url.origin, connect_timeout_s)
        answer = connection.ask(head, body, deadline)
        try:
            await answer.begun
        except BaseException:
            connection.abort()
            raise
        return answer

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for connection in tuple(self._open):
            connection.abort()
        self._idle.clear()

    async def _connect(self, origin: Origin, timeout_s: float) -> Connection:
        idle, kept_s = self._idle[origin], self._keep_s

        def made() -> Connection:
            return Connection(idle, self._open, kept_s)

        try:
            async with asyncio.timeout(timeout_s):
                _, connection = await self._opened(origin, made)
        except (OSError, ValueError) as error:
            # A timeout and a certificate that is refused are OSErrors.
            raise Unreachable(str(error)) from None
        return connection

    async def _opened(
        self, origin: Origin, made: Callable[[], Connection]
    ) -> tuple[asyncio.Transport, Connection]:
        loop = asyncio.get_running_loop()
        secured: dict[str, Any] = {}
        if origin.scheme == "https":
            secured = {"ssl": self._trusted or _trusted(), "server_hostname": origin.host}
        if self._unix_socket:
            return await loop.create_unix_connection(made, self._unix_socket, **secured)
        found = await loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
        connected = await aiohappyeyeballs.start_connection(
            found, happy_eyeballs_delay=_ATTEMPT_DELAY_S, interleave=1
        )
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        try:
            return await loop.create_connection(made, sock=connected, **secured)
        except BaseException:
            connected.close()
            raise


def header_lines(headers: Mapping[str, str]) -> bytes:
    """Return headers as they are sent, each line with its end.

    Raises:
        ValueError: One holds the end of a line.
    """
    lines = [f"{name}: {value}" for name, value in headers.items()]
    if _LINE_END.search("".join(lines)):
        raise ValueError("a header holds the end of a line")
    return "\r\n".join([*lines, ""]).encode("latin-1")


def _trusted() -> ssl.SSLContext:
    if not _TRUSTED:
        context = ssl.create_default_context()
        context.set_alpn_protocols(["http/1.1"])
        _TRUSTED.append(context)
    return _TRUSTED[0]


_TRUSTED: list[ssl.SSLContext] = []
