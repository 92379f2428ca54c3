"""What telemetry costs a request, in CPU time: counted only, and traced.

A request is played that streams from one target: exchange, phases, `Server-Timing`, settlement.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from config.scope import TenantScope
from config.telemetry import TelemetrySettings
from gateway.exchanges import begin_exchanges, server_timing
from gateway.govern.charge import Asked, Charge, current_exchange
from gateway.observe import metrics
from gateway.observe.asking import Asking
from gateway.observe.exposition import render
from gateway.observe.labels import Targets
from gateway.observe.phases import Phase
from gateway.observe.recording import Recorder
from gateway.observe.tracing import Tracing

_REQUESTS = 20_000
_SCOPE: dict[str, Any] = {
    "type": "http",
    "method": "POST",
    "path": "/v1/chat/completions",
    "path_template": "/v1/chat/completions",
    "headers": [(b"host", b"naru"), (b"content-type", b"application/json")],
}
_CALLER = TenantScope("acme", "app", frozenset({"inference"}))
_FIELDS = {"messages": [], "temperature": 0.5}
_record = Recorder(Targets(["fake/gpt-x"]), Tracing(TelemetrySettings())).record


class _Nowhere(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        del spans
        return SpanExportResult.SUCCESS


async def _app(*_: object) -> None:
    """Do what a request's way has of telemetry, and no work."""
    with Phase("auth"):
        pass
    charge = Charge(_CALLER, Asked("chat", "smart", stream=True))
    with Phase("limits"):
        pass
    with Phase("guardrails"):
        pass
    attempt = charge.attempt("fake/gpt-x", "hosted")
    with Asking(attempt, "chat", _FIELDS, stream=True):
        pass
    charge.note_first_token()
    exchange = current_exchange()
    exchange.status = 200
    server_timing(exchange)
    attempt.usage.prompt_tokens, attempt.usage.completion_tokens = 100, 20
    charge.end()
    with Phase("settlement"):
        _record(charge)


async def _bare(*_: object) -> None:
    """Do the same without telemetry."""
    charge = Charge(_CALLER, Asked("chat", "smart", stream=True))
    attempt = charge.attempt("fake/gpt-x", "hosted")
    charge.note_first_token()
    attempt.usage.prompt_tokens, attempt.usage.completion_tokens = 100, 20
    charge.end()


def _cpu_us(app: Callable[..., Any], requests: int = _REQUESTS) -> float:
    async def ask() -> None:
        for _ in range(requests):
            await app({**_SCOPE, "state": {"naru_request_id": "x"}}, None, None)

    began = time.process_time()
    asyncio.run(ask())
    return (time.process_time() - began) / requests * 1e6


def main() -> None:
    """Print a table; the least of five runs each."""
    counted = Tracing(TelemetrySettings(sample_ratio=0))
    traced = Tracing(TelemetrySettings(sample_ratio=1))
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(_Nowhere()))
    traced.tracer = provider.get_tracer("naru")
    bare = min(_cpu_us(_bare) for _ in range(5))
    only_counted = min(_cpu_us(begin_exchanges(_app, counted)) for _ in range(5))
    whole = min(_cpu_us(begin_exchanges(_app, traced), 2000) for _ in range(5))
    provider.shutdown()
    print(f"counted, not traced  {only_counted - bare:6.1f} µs a request")
    print(f"traced               {whole - bare:6.1f} µs a request")
    began = time.process_time()
    for _ in range(20):
        render(metrics.ALL, "")
    print(f"a scrape's text      {(time.process_time() - began) / 20 * 1e3:6.1f} ms")


if __name__ == "__main__":
    main()
