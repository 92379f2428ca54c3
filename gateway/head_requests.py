"""HEAD, which every GET route answers (RFC 9110 section 9.1): the same head, and no body."""

from collections.abc import Awaitable
from typing import Any

from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from gateway.heads import keep_server_send

_HEAD = "HEAD"
_ASKED = "naru_asked_method"


def with_head(app: ASGIApp) -> ASGIApp:
    """Return the application that finds the route of a HEAD as it does for GET."""

    def choosing(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope.get("method") == _HEAD:
            return _answer(app, scope, receive, send)  # type: ignore[arg-type]
        return app(scope, receive, send)

    return choosing


def asked_method(scope: Scope) -> str:
    """Return the method that the client sent, which its proofs name."""
    asked: str = scope.get(_ASKED) or scope.get("method", "")  # type: ignore[assignment]
    return asked


async def _answer(app: ASGIApp, scope: HTTPScope, receive: Receive, send: Send) -> None:
    """Answer as soon as there is a head: what makes the body is told that the client left."""
    known: Any = scope

    async def send_head(message: Message) -> None:
        if message["type"] == "http.response.start":
            known["method"] = _HEAD
            await send(message)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    known[_ASKED], known["method"] = _HEAD, "GET"
    keep_server_send(scope, send_head)
    await app(scope, receive, send_head)
