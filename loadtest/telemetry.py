"""What telemetry costs a request, in CPU time: counted, exported as `make bench` has it, traced.

A request is played that streams from one target: exchange, phases, `Server-Timing`, settlement.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from config.scope import TenantScope
from config.telemetry import TelemetrySettings
from gateway.exchanges import begin_exchanges, server_timing
from gateway.govern.charge import Asked, Charge, current_exchange
from gateway.observe import metrics
from gateway.observe.asking import Asking
from gateway.observe.exposition import render
from gateway.observe.genai import GenAiMetrics
from gateway.observe.labels import Targets
from gateway.observe.phases import Phase
from gateway.observe.recording import Recorder
from gateway.observe.tracing import Tracing

_REQUESTS = 20_000
_TRACED = 2_000
_RUNS = 7
_QUEUE = 100_000
_SCOPE: dict[str, Any] = {
    "type": "http",
    "method": "POST",
    "path": "/v1/chat/completions",
    "path_template": "/v1/chat/completions",
    "headers": [(b"host", b"naru"), (b"content-type", b"application/json")],
}
_CALLER = TenantScope("acme", "app", frozenset({"inference"}))
_FIELDS = {"messages": [], "temperature": 0.5}


class _Nowhere(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        del spans
        return SpanExportResult.SUCCESS


def _telling(tracing: Tracing) -> Callable[..., Any]:
    """Return a request's way with what it has of telemetry, and no work."""
    record = Recorder(Targets(["fake/gpt-x"]), tracing).record

    async def app(*_: object) -> None:
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
            record(charge)

    return begin_exchanges(app, tracing)


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
            await app({**_SCOPE, "state": {}}, None, None)

    began = time.process_time()
    asyncio.run(ask())
    return (time.process_time() - began) / requests * 1e6


def _exporting(provider: TracerProvider, sample_ratio: float) -> Tracing:
    """Return the tracing of a process whose exporter is on."""
    tracing = Tracing(TelemetrySettings(exporter="otlp", sample_ratio=sample_ratio))
    tracing.tracer, tracing.genai = provider.get_tracer("naru"), GenAiMetrics()
    return tracing


def _least(app: Callable[..., Any], requests: int = _REQUESTS) -> float:
    return min(_cpu_us(app, requests) for _ in range(_RUNS))


def main() -> None:
    """Print a table; the least of several runs each."""
    provider = TracerProvider(sampler=ALWAYS_ON)
    provider.add_span_processor(BatchSpanProcessor(_Nowhere(), max_queue_size=_QUEUE))
    counted = _telling(Tracing(TelemetrySettings(sample_ratio=0)))
    exported, sampled, traced = (_telling(_exporting(provider, ratio)) for ratio in (0, 0.01, 1))
    bare = _least(_bare)
    print(f"counted, no exporter     {_least(counted) - bare:6.1f} µs a request")
    print(f"exporter on, not traced  {_least(exported) - bare:6.1f} µs a request")
    print(f"exporter on, 1 % traced  {_least(sampled) - bare:6.1f} µs a request")
    print(f"traced                   {_least(traced, _TRACED) - bare:6.1f} µs a request")
    provider.shutdown()
    began = time.process_time()
    for _ in range(20):
        render(metrics.ALL, "")
    print(f"a scrape's text          {(time.process_time() - began) / 20 * 1e3:6.1f} ms")


if __name__ == "__main__":
    main()
