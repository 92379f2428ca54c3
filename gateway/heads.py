"""Heads of requests and answers, as ASGI has them."""

from typing import Any

from litestar.types import Scope, Send

_SERVER = "naru_server_send"


def header(scope: Scope, name: bytes) -> str | None:
    """Return a header's first value."""
    for given, value in scope["headers"]:
        if given == name:
            return value.decode("latin-1")
    return None


def headers(scope: Scope, name: bytes) -> tuple[str, ...]:
    """Return every value of a header."""
    return tuple([value.decode("latin-1") for given, value in scope["headers"] if given == name])


def keep_server_send(scope: Scope, send: Send) -> None:
    """Remember the server's own `send`, before anything is put around it."""
    known: Any = scope
    known[_SERVER] = send


def server_send(scope: Scope, send: Send) -> Send:
    """Return what sends parts of a body; only heads are of interest to what is around it."""
    found: Send = scope.get(_SERVER, send)  # type: ignore[assignment]
    return found
