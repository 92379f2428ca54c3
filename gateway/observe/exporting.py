"""OpenTelemetry's SDK: batches of spans on their way to where the settings say."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
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

from config.telemetry import TelemetrySettings
from gateway.govern.charge import current_exchange
from gateway.observe import metrics
from gateway.observe.tracing import Tracing

_BATCH = 512
_log = logging.getLogger(__name__)


@asynccontextmanager
async def exporting(
    tracing: Tracing, settings: TelemetrySettings, process: str
) -> AsyncIterator[None]:
    """Export spans while the context is open; what is left at its end for as long as is allowed."""
    if settings.exporter == "none":
        yield
        return
    provider = TracerProvider(
        sampler=ALWAYS_ON,
        resource=resource_of(settings, process),
        id_generator=_Ids(),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(
        BatchSpanProcessor(
            _Counted(span_exporter(settings)),
            max_queue_size=settings.max_queue,
            schedule_delay_millis=settings.export_interval_s * 1000,
            max_export_batch_size=min(_BATCH, settings.max_queue),
        )
    )
    tracing.tracer = provider.get_tracer("naru", version("naru-gateway"))
    try:
        yield
    finally:
        tracing.tracer = None
        await _end(provider, settings.flush_timeout_s)


def span_exporter(settings: TelemetrySettings) -> SpanExporter:
    """Return where spans go."""
    if settings.exporter == "console":
        return ConsoleSpanExporter()
    headers = {name: value.get_secret_value() for name, value in settings.otlp_headers.items()}
    url = f"{str(settings.otlp_url).rstrip('/')}/v1/traces"
    return OTLPSpanExporter(url, headers=headers, timeout=settings.flush_timeout_s)


def resource_of(settings: TelemetrySettings, process: str) -> Resource:
    """Return who tells: `OTEL_RESOURCE_ATTRIBUTES` may say more."""
    return Resource.create(
        {
            "service.name": settings.service_name,
            "service.version": version("naru-gateway"),
            "service.instance.id": process,
        }
    )


async def _end(provider: TracerProvider, timeout_s: float) -> None:
    # A daemon, which the process does not wait for: a collector may hang.
    ending = threading.Thread(target=provider.shutdown, name="naru-flush", daemon=True)
    ending.start()
    await asyncio.to_thread(ending.join, timeout_s)
    if ending.is_alive():
        _log.warning("spans are left unexported: there was no time")


class _Ids(RandomIdGenerator):
    """Gives a trace that begins with a request the id that its logs already have."""

    def generate_trace_id(self) -> int:
        return int(current_exchange().trace.id or "0", 16) or super().generate_trace_id()


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
