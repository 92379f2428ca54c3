"""HTTP requests from their first byte to their answer's last: an exchange each, and counted."""

import time
from functools import lru_cache

from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

from gateway.govern.charge import Exchange, begin_exchange
from gateway.observe import metrics
from gateway.observe.tracing import Tracing, server_span
from gateway.request_ids import request_id

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_LEFT = 499


def begin_exchanges(app: ASGIApp, tracing: Tracing) -> ASGIApp:
    """Return the application with an exchange for each request, which is counted at its end."""

    async def exchanging(scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(request_id(scope), trace=tracing.begin(scope["headers"]))
        begin_exchange(exchange)
        metrics.HTTP_IN_FLIGHT.add(1)
        began = time.monotonic()
        try:
            if exchange.trace.tracer is None:
                await app(scope, receive, send)
            else:
                with server_span(scope, exchange):  # type: ignore[arg-type]
                    await app(scope, receive, send)
        finally:
            metrics.HTTP_IN_FLIGHT.add(-1)
            _count(scope, exchange, time.monotonic() - began)  # type: ignore[arg-type]

    return exchanging


def _count(scope: HTTPScope, exchange: Exchange, took_s: float) -> None:
    # Not the path, which holds what callers call things.
    route = scope.get("path_template") or "unmatched"
    method = scope["method"] if scope["method"] in _METHODS else "other"
    metrics.HTTP_REQUESTS.add(method, route, _class_of(exchange.status or _LEFT))
    metrics.HTTP_DURATION.observe(took_s, route)
    for phase, phase_s in exchange.phases.items():
        metrics.PHASE_DURATION.observe(phase_s, phase)


def server_timing(exchange: Exchange) -> str:
    """Return how long each part took so far, as `Server-Timing` says it."""
    told = [f"{name};dur={seconds * 1000:.2f}" for name, seconds in exchange.phases.items()]
    return ", ".join(told)


@lru_cache
def _class_of(status: int) -> str:
    return str(status) if status == _LEFT else f"{status // 100}xx"


def operators_apart(app: ASGIApp, port: int) -> ASGIApp:
    """Return the application that answers `/metrics` at that port, and nothing else there."""

    async def parted(scope: Scope, receive: Receive, send: Send) -> None:
        server = scope["server"]
        if (server is not None and server[1] == port) != (scope["path"] == "/metrics"):
            scope["path"] = "/not/here"
        await app(scope, receive, send)

    return parted
