"""HTTP requests from their first byte to their answer's last: an exchange each, and counted."""

from collections.abc import Sequence
from functools import lru_cache
from time import monotonic

from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

from gateway.govern.charge import Exchange, begin_exchange
from gateway.observe import metrics
from gateway.observe.batches import Batch, Row
from gateway.observe.tally import Labels
from gateway.observe.tracing import Tracing, server_span
from gateway.request_ids import request_id

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_LEFT = 499
_to_ms = (1000.0).__mul__


def begin_exchanges(app: ASGIApp, tracing: Tracing) -> ASGIApp:
    """Return the application with an exchange for each request, which is counted at its end."""
    metrics.HTTP_IN_FLIGHT.add(0)
    in_flight = metrics.HTTP_IN_FLIGHT.values

    async def exchanging(scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(request_id(scope), trace=tracing.begin(scope["headers"]))
        begin_exchange(exchange)
        in_flight[()] += 1
        began = monotonic()
        try:
            if exchange.trace.tracer is None:
                await app(scope, receive, send)
            else:
                with server_span(scope, exchange):  # type: ignore[arg-type]
                    await app(scope, receive, send)
        finally:
            in_flight[()] -= 1
            _count(scope, exchange, monotonic() - began)  # type: ignore[arg-type]

    return exchanging


def _count(scope: HTTPScope, exchange: Exchange, took_s: float) -> None:
    # Not the path, which holds what callers call things.
    route = scope.get("path_template") or "unmatched"
    method = scope["method"] if scope["method"] in _METHODS else "other"
    status, phases = _class_of(exchange.status or _LEFT), exchange.phases
    _ENDED.add((method, route, status, *phases), (took_s, *phases.values()))


def _count_ended(labels: Labels, rows: Sequence[Row]) -> None:
    method, route, status, *phases = labels
    took_s, *spent_s = zip(*rows, strict=True)
    metrics.HTTP_REQUESTS.add(method, route, status, by=len(rows))
    metrics.HTTP_DURATION.observe_all(took_s, route)
    for phase, phase_s in zip(phases, spent_s, strict=True):
        metrics.PHASE_DURATION.observe_all(phase_s, phase)


_ENDED = Batch(_count_ended)


def server_timing(exchange: Exchange) -> str:
    """Return how long each part took so far, as `Server-Timing` says it."""
    phases = exchange.phases
    return _timing_of(tuple(phases)) % tuple(map(_to_ms, phases.values()))


@lru_cache
def _timing_of(phases: tuple[str, ...]) -> str:
    return ", ".join(f"{name};dur=%.2f" for name in phases)


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
