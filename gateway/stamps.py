"""What every answer says in its head: its id, how the caller stands at its limits, its times."""

from collections.abc import Awaitable
from functools import partial
from typing import Any

from litestar.types import ASGIApp, Message, Receive, Scope, Send

from gateway.auditing import end_audit
from gateway.exchanges import server_timing
from gateway.govern.charge import current_exchange
from gateway.request_ids import request_id

_TIMED = "naru_timed"


def with_stamps(app: ASGIApp, *, timed: bool) -> ASGIApp:
    """Return the application whose answers are stamped; `timed` says how long what took as well."""

    def stamping(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        known: Any = scope
        known[_TIMED] = timed
        return app(scope, receive, partial(_send_stamped, scope, send))

    return stamping


async def _send_stamped(scope: Scope, send: Send, message: Message) -> None:
    if message["type"] == "http.response.start":
        told = stamps(scope, message["status"]).items()
        stamped = [(name.encode(), value.encode()) for name, value in told]
        message["headers"] = [*message["headers"], *stamped]
        await end_audit(message, scope)
    await send(message)


def stamps(scope: Scope, status: int) -> dict[str, str]:
    """Return what the head says beside its own; the answer begins with this."""
    exchange = current_exchange()
    exchange.status = status
    told = {"x-request-id": exchange.request_id or request_id(scope), **exchange.headers}
    if scope.get(_TIMED) and (timing := server_timing(exchange)):
        told["server-timing"] = timing
    return told
