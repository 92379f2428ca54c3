"""Heads of requests and answers, as ASGI has them, and the server's own ways to send."""

from collections.abc import Callable, Iterable
from typing import Any

from litestar.types import Scope, Send

Heads = Iterable[tuple[bytes, bytes]]
SendWhole = Callable[[int, Heads, bytes], bool]
"""Sends an answer, status, head and body, at once; returns False where it can't: nothing was sent.

Names and values must be known to hold no line end.
"""

_SERVER = "naru_server_send"
_WHOLE = "naru_send_whole"


def header(scope: Scope, name: bytes) -> str | None:
    """Return a header's first value."""
    for given, value in scope["headers"]:
        if given == name:
            return value.decode("latin-1")
    return None


def keep_server_send(scope: Scope, send: Send) -> None:
    """Remember the server's own `send`, before anything is put around it."""
    known: Any = scope
    known[_SERVER] = send


def server_send(scope: Scope, send: Send) -> Send:
    """Return what sends parts of a body; only heads are of interest to what is around it."""
    found: Send = scope.get(_SERVER, send)  # type: ignore[assignment]
    return found


def keep_send_whole(scope: Scope, send_whole: SendWhole) -> None:
    """Remember how the server sends an answer at once."""
    known: Any = scope
    known[_WHOLE] = send_whole


def send_whole(scope: Scope) -> SendWhole:
    """Return how the server sends an answer at once; who knows none always has to take steps."""
    found: SendWhole = scope.get(_WHOLE, _in_steps)  # type: ignore[assignment]
    return found


def forget_sends(scope: Scope) -> None:
    """Forget both: they hold the server's request, which holds the scope."""
    known: Any = scope
    known.pop(_SERVER, None)
    known.pop(_WHOLE, None)


def _in_steps(status: int, heads: Heads, body: bytes) -> bool:
    del status, heads, body
    return False
