"""OpenTelemetry's SDK: spans and metrics on their way to where the settings say."""

import asyncio
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version

from opentelemetry.sdk.environment_variables import (
    OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE,
)
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, MetricExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    ConsoleSpanExporter,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from config.tasks import end_task
from config.telemetry import TelemetrySettings
from gateway.govern.charge import current_exchange
from gateway.observe import metrics
from gateway.observe.genai import GenAiMetrics
from gateway.observe.genai_export import GenAiExport
from gateway.observe.tracing import Tracing

_BATCH = 512
_NAME, _VERSION = "naru", version("naru-gateway")
_log = logging.getLogger(__name__)


@asynccontextmanager
async def exporting(
    tracing: Tracing, settings: TelemetrySettings, process: str
) -> AsyncIterator[None]:
    """Export while the context is open; what is left at its end for as long as is allowed."""
    if settings.exporter == "none":
        yield
        return
    resource = _resource(settings, process)
    spans = TracerProvider(
        sampler=ALWAYS_ON, resource=resource, id_generator=_Ids(), shutdown_on_exit=False
    )
    spans.add_span_processor(_batches(settings))
    genai = GenAiMetrics()
    values = GenAiExport(
        *(genai, metric_exporter(settings), resource, InstrumentationScope(_NAME, _VERSION)),
        delta=_wants_delta(settings),
    )
    tracing.tracer, tracing.genai = spans.get_tracer(_NAME, _VERSION), genai
    running = asyncio.create_task(values.run(settings.export_interval_s))
    try:
        yield
    finally:
        tracing.tracer = tracing.genai = None
        await end_task(running)
        await _end([spans.shutdown, values.ending()], settings.flush_timeout_s)


def span_exporter(settings: TelemetrySettings) -> SpanExporter:
    """Return where spans go."""
    if settings.exporter == "console":
        return ConsoleSpanExporter(out=sys.stderr)
    # Only here: two megabytes that most processes never need.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

    url, headers = _otlp(settings, "traces")
    return OTLPSpanExporter(url, headers=headers, timeout=settings.flush_timeout_s)


def metric_exporter(settings: TelemetrySettings) -> MetricExporter:
    """Return where metrics go."""
    if settings.exporter == "console":
        return ConsoleMetricExporter(out=sys.stderr)
    # Only here: two megabytes that most processes never need.
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter  # noqa: PLC0415

    url, headers = _otlp(settings, "metrics")
    return OTLPMetricExporter(url, headers=headers, timeout=settings.flush_timeout_s)


def _wants_delta(settings: TelemetrySettings) -> bool:
    """Tell whether the collector wants what came since the last export, as its variable says."""
    wanted = os.environ.get(OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE, "")
    return settings.exporter == "otlp" and wanted.strip().upper() in ("DELTA", "LOWMEMORY")


def _batches(settings: TelemetrySettings) -> BatchSpanProcessor:
    return BatchSpanProcessor(
        _Counted(span_exporter(settings)),
        max_queue_size=settings.max_queue,
        schedule_delay_millis=settings.export_interval_s * 1000,
        max_export_batch_size=min(_BATCH, settings.max_queue),
    )


def _otlp(settings: TelemetrySettings, what: str) -> tuple[str, dict[str, str]]:
    headers = {name: value.get_secret_value() for name, value in settings.otlp_headers.items()}
    return f"{str(settings.otlp_url).rstrip('/')}/v1/{what}", headers


def _resource(settings: TelemetrySettings, process: str) -> Resource:
    """Return who tells; `OTEL_RESOURCE_ATTRIBUTES` may say more."""
    return Resource.create(
        {
            "service.name": settings.service_name,
            "service.version": _VERSION,
            "service.instance.id": f"{socket.gethostname()}:{process}:{os.getpid()}",
        }
    )


async def _end(endings: Sequence[Callable[[], None]], timeout_s: float) -> None:
    """Flush and end all at the same time."""
    # Daemons, which the process does not wait for: a collector may hang.
    threads = [threading.Thread(target=end, name="naru-flush", daemon=True) for end in endings]
    deadline = time.monotonic() + timeout_s
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join, max(deadline - time.monotonic(), 0))
    if any(thread.is_alive() for thread in threads):
        _log.warning("telemetry is left unexported: there was no time")


class _Ids(RandomIdGenerator):
    """Gives a trace that begins with a request the id that its logs already have."""

    def generate_trace_id(self) -> int:
        return current_exchange().trace.number or super().generate_trace_id()


class _Counted(SpanExporter):
    """Counts what could not be exported."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        if result is not SpanExportResult.SUCCESS:
            metrics.SPANS_DROPPED.add(by=len(spans))
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)
