"""Heads of requests and answers, as ASGI has them, and the server's own ways to send."""

from collections.abc import Callable, Mapping
from typing import Any

from litestar.types import Scope, Send

SendWhole = Callable[[int, Mapping[str, str], bytes], bool]
"""Sends an answer, status, head and body, at once; returns False where it can't: nothing was sent.

Names and values must be known to be ASCII without line ends.
"""

_FIRST = "naru_first_values"
_SERVER = "naru_server_send"
_WHOLE = "naru_send_whole"


def header(scope: Scope, name: bytes) -> str | None:
    """Return a header's first value."""
    value = first_values(scope).get(name)
    return None if value is None else value.decode("latin-1")


def every_value(scope: Scope, name: bytes) -> tuple[str, ...]:
    """Return all values of a header that was sent, in their order."""
    heads: Any = scope["headers"]
    first = first_values(scope)
    if len(first) == len(heads):  # no header was sent twice
        return (first[name].decode("latin-1"),)
    return tuple(value.decode("latin-1") for given, value in heads if given == name)


def first_values(scope: Scope) -> Mapping[bytes, bytes]:
    """Return the first value of each header: many ask, so that they are gone through once."""
    try:
        return scope[_FIRST]  # type: ignore[literal-required, no-any-return]
    except KeyError:
        known: Any = scope
        # Backwards: of values of the same name the last one stays.
        first: Mapping[bytes, bytes] = dict(reversed(known["headers"]))
        known[_FIRST] = first
        return first


def keep_sends(scope: Scope, send: Send, send_whole: SendWhole) -> None:
    """Remember how the server itself sends: in steps, and an answer at once."""
    known: Any = scope
    known[_SERVER], known[_WHOLE] = send, send_whole


def keep_server_send(scope: Scope, send: Send) -> None:
    """Have what sends parts of a body use this in place of the server's own `send`."""
    known: Any = scope
    known[_SERVER] = send


def server_send(scope: Scope, send: Send) -> Send:
    """Return what sends parts of a body; only heads are of interest to what is around it."""
    found: Send = scope.get(_SERVER, send)  # type: ignore[assignment]
    return found


def send_whole(scope: Scope) -> SendWhole:
    """Return how the server sends an answer at once; who knows none always has to take steps."""
    found: SendWhole = scope.get(_WHOLE, _in_steps)  # type: ignore[assignment]
    return found


def forget_sends(scope: Scope) -> None:
    """Forget both: they hold the server's request, which holds the scope."""
    known: Any = scope
    del known[_SERVER], known[_WHOLE]


def _in_steps(status: int, head: Mapping[str, str], body: bytes) -> bool:
    del status, head, body
    return False
