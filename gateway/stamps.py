"""What every answer says in its head: its id, how the caller stands at its limits, its times."""

from collections.abc import Awaitable
from typing import Any

from litestar.types import ASGIApp, Message, Receive, Scope, Send

from gateway.auditing import end_audit
from gateway.exchanges import server_timing
from gateway.govern.charge import current_exchange
from gateway.heads import Heads, keep_server_send
from gateway.request_ids import request_id

_TIMED = "naru_timed"


def with_stamps(app: ASGIApp, *, timed: bool) -> ASGIApp:
    """Return the application whose answers are stamped; `timed` says how long what took as well."""

    def stamping(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        async def send_stamped(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = stamped(scope, message["status"], message["headers"])
                await end_audit(message, scope)
            await send(message)

        known: Any = scope
        known[_TIMED] = timed
        keep_server_send(scope, send)
        return app(scope, receive, send_stamped)

    return stamping


def stamped(scope: Scope, status: int, heads: Heads) -> list[tuple[bytes, bytes]]:
    """Return the head with its stamps; the answer begins with this."""
    exchange = current_exchange()
    exchange.status = status
    answered = [*heads, (b"x-request-id", request_id(scope).encode())]
    answered += [(name.encode(), value.encode()) for name, value in exchange.headers.items()]
    if scope.get(_TIMED) and (told := server_timing(exchange)):
        answered.append((b"server-timing", told.encode()))
    return answered
