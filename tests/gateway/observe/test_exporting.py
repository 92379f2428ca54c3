"""An OTLP collector: one that answers, one that never does, and one that wants differences."""

import asyncio
import gzip
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    ConsoleMetricExporter,
    MetricsData,
)

from config.scope import TenantScope
from config.telemetry import TelemetrySettings
from gateway.govern.charge import Asked, Charge
from gateway.observe import exporting as module
from gateway.observe import metrics
from gateway.observe.exporting import exporting
from gateway.observe.tracing import Tracing

_CALLER = TenantScope("acme", "app", frozenset({"inference"}))


@pytest.fixture
def silent() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@pytest.fixture
def collector() -> Iterator[tuple[int, dict[str, bytes]]]:
    """Yield a collector's port, and what it is sent by path."""
    sent: dict[str, bytes] = {}

    class _Take(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            sent[self.path] = gzip.decompress(body) if self.headers["content-encoding"] else body
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), _Take) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield server.server_port, sent
        server.shutdown()
        serving.join()


async def test_spans_and_metrics_go_to_the_collector(collector: tuple[int, dict[str, bytes]]):
    port, sent = collector
    settings = TelemetrySettings.model_validate(
        {"exporter": "otlp", "otlp_url": f"http://127.0.0.1:{port}", "flush_timeout_s": 30}
    )
    tracing, charge = Tracing(settings), Charge(_CALLER, Asked("chat", "smart"))
    async with exporting(tracing, settings, "test"):
        assert tracing.tracer
        assert tracing.genai
        tracing.tracer.start_span("a-span").end()
        tracing.genai.record(charge, charge.attempt("fake/gpt-x", "hosted"), "fake/gpt-x")

    assert b"a-span" in sent["/v1/traces"]
    told = ExportMetricsServiceRequest.FromString(sent["/v1/metrics"]).resource_metrics[0]
    names = {each.key: each.value.string_value for each in told.resource.attributes}
    assert names["service.name"] == "naru"
    assert [each.name for each in told.scope_metrics[0].metrics] == [
        "gen_ai.client.token.usage",
        "gen_ai.client.operation.duration",
    ]


async def test_a_collector_that_hangs_holds_nothing_up(silent: int):
    settings = TelemetrySettings.model_validate(
        {
            "exporter": "otlp",
            "otlp_url": f"http://127.0.0.1:{silent}",
            "export_interval_s": 3600,
            "flush_timeout_s": 0.5,
            "max_queue": 4,
        }
    )
    dropped = metrics.SPANS_DROPPED.values.get((), 0)
    tracing = Tracing(settings)
    async with asyncio.timeout(60):
        async with exporting(tracing, settings, "test"):
            assert tracing.tracer
            for number in range(100):
                tracing.tracer.start_span(str(number)).end()
        assert tracing.tracer is None
        while metrics.SPANS_DROPPED.values.get((), 0) == dropped:
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("preference", "kind"),
    [("", "CUMULATIVE"), ("cumulative", "CUMULATIVE"), ("delta", "DELTA"), ("LowMemory", "DELTA")],
)
async def test_the_exporters_variable_says_whether_metrics_are_differences(
    preference: str, kind: str, monkeypatch: pytest.MonkeyPatch
):
    told: list[MetricsData] = []
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", preference)
    exporter = ConsoleMetricExporter()
    monkeypatch.setattr(exporter, "export", told.append)
    monkeypatch.setattr(module, "metric_exporter", lambda _: exporter)
    settings = TelemetrySettings(exporter="otlp", sample_ratio=0)
    tracing, charge = Tracing(settings), Charge(_CALLER, Asked("chat", "smart"))
    async with exporting(tracing, settings, "test"):
        assert tracing.genai
        tracing.genai.record(charge, charge.attempt("fake/gpt-x", "hosted"), "fake/gpt-x")

    (metric, *_) = told[0].resource_metrics[0].scope_metrics[0].metrics
    assert metric.data.aggregation_temporality == AggregationTemporality[kind]
