"""What a collector receives is what OpenTelemetry's own instruments would have told it."""

import asyncio
import threading
from typing import Any

import pytest
from opentelemetry import trace as otel
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics import Histogram as SdkHistogram
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    ConsoleMetricExporter,
    InMemoryMetricReader,
    MetricExportResult,
    MetricsData,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from config.scope import TenantScope
from gateway.govern.charge import Asked, Charge, Exchange
from gateway.observe.batches import AT_ONCE
from gateway.observe.genai import GenAiMetrics
from gateway.observe.genai_export import GenAiExport, collected
from gateway.observe.propagation import Trace

_SCOPE = TenantScope("acme", "app", frozenset({"inference"}))
_TRACER = TracerProvider().get_tracer("test")
_RESOURCE = Resource.create({"service.name": "naru"})
_BY = InstrumentationScope("naru", "1")
_CALL = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "fake",
    "gen_ai.request.model": "gpt-x",
}
_SECONDS = [0.01 * 2**power for power in range(14)]


class _Collector(ConsoleMetricExporter):
    def __init__(self) -> None:
        super().__init__()
        self.told: list[MetricsData] = []
        self.ended = False

    def export(self, metrics_data: MetricsData, *_: object, **__: object) -> MetricExportResult:
        self.told.append(metrics_data)
        return MetricExportResult.SUCCESS

    def shutdown(self, *_: object, **__: object) -> None:
        self.ended = True


def _charge(*, prompt: int = 100, answer: int = 20, traced: bool = False, **more: Any) -> Charge:
    trace = Trace(1, sampled=traced, tracer=_TRACER if traced else None)
    charge = Charge(_SCOPE, Asked("chat", "smart"), exchange=Exchange(trace=trace), **more)
    attempt = charge.attempt("fake/gpt-x", "hosted")
    attempt.usage.prompt_tokens, attempt.usage.completion_tokens = prompt, answer
    charge.ending = "completed"
    return charge


def _export(genai: GenAiMetrics, collector: _Collector, *, delta: bool = False) -> GenAiExport:
    return GenAiExport(genai, collector, _RESOURCE, _BY, delta=delta)


def _encoded(data: MetricsData) -> list[str]:
    """Return the lines of what goes over the wire, without times and durations."""
    (resource,) = encode_metrics(data).resource_metrics
    (scope,) = resource.scope_metrics
    for metric in scope.metrics:
        for point in metric.histogram.data_points:
            assert 0 < point.start_time_unix_nano <= point.time_unix_nano
            point.ClearField("start_time_unix_nano")
            point.ClearField("time_unix_nano")
            for exemplar in point.exemplars:
                assert exemplar.time_unix_nano
                exemplar.ClearField("time_unix_nano")
    return str(resource).splitlines()


@pytest.mark.parametrize("delta", [False, True])
def test_the_wire_does_not_tell_it_from_the_sdk(delta: bool, monkeypatch: pytest.MonkeyPatch):
    genai, collector = GenAiMetrics(), _Collector()
    kind = AggregationTemporality.DELTA if delta else AggregationTemporality.CUMULATIVE
    reader = InMemoryMetricReader({SdkHistogram: kind})
    meter = MeterProvider([reader], _RESOURCE).get_meter("naru", "1")
    tokens, duration, first = (
        meter.create_histogram(name, unit, explicit_bucket_boundaries_advisory=bounds)
        for name, unit, bounds in (
            ("gen_ai.client.token.usage", "{token}", [4.0**power for power in range(14)]),
            ("gen_ai.client.operation.duration", "s", _SECONDS),
            ("gen_ai.client.operation.time_to_first_chunk", "s", _SECONDS),
        )
    )
    exporting = _export(genai, collector, delta=delta)
    monkeypatch.setattr("gateway.observe.genai.time.monotonic", lambda: 12.5)

    def play(prompt: int, answer: int, ending: str, *, traced: bool = False) -> None:
        charge = _charge(prompt=prompt, answer=answer, traced=traced, started=10.0)
        charge.ending, charge.first_token_at = ending, 10.25
        genai.record(charge, charge.attempts[0], "fake/gpt-x")
        tokens.record(prompt, _CALL | {"gen_ai.token.type": "input"})
        tokens.record(answer, _CALL | {"gen_ai.token.type": "output"})
        error = {} if ending == "completed" else {"error.type": "interrupted"}
        duration.record(2.5, _CALL | error)
        first.record(0.25, _CALL)

    for _ in range(2):
        play(100, 20, "completed")
        play(0, 10**9, "completed")
        with otel.use_span(_TRACER.start_span("settlement")):
            play(3, 4, "client_gone", traced=True)
        exporting.ending()()
        theirs = reader.get_metrics_data()
        assert theirs
        assert _encoded(collector.told[-1]) == _encoded(theirs)


def test_a_model_that_a_caller_made_up_is_not_told():
    genai, charge = GenAiMetrics(), _charge()
    genai.record(charge, charge.attempts[0], "fake/*")

    attributes = [
        dict(point.attributes or {})
        for metric in collected(genai, delta=False)
        for point in metric.data.data_points
    ]
    assert attributes[-1] == {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "fake"}


def test_of_many_calls_none_is_forgotten():
    genai, charge = GenAiMetrics(), _charge()
    for _ in range(AT_ONCE + 1):
        genai.record(charge, charge.attempts[0], "fake/gpt-x")

    told = [point for metric in collected(genai, delta=True) for point in metric.data.data_points]
    assert [point.count for point in told] == [AT_ONCE + 1] * 3
    assert collected(genai, delta=True) == []


async def test_it_is_exported_at_its_interval_and_once_more_at_its_end():
    genai, collector, charge = GenAiMetrics(), _Collector(), _charge()
    exporting = _export(genai, collector)
    running = asyncio.create_task(exporting.run(0.01))
    await asyncio.sleep(0.05)
    assert collector.told == []
    genai.record(charge, charge.attempts[0], "fake/gpt-x")
    async with asyncio.timeout(30):
        while not collector.told:
            await asyncio.sleep(0.01)
    running.cancel()
    genai.record(charge, charge.attempts[0], "fake/gpt-x")
    exporting.ending()()

    (metric, *_) = collector.told[-1].resource_metrics[0].scope_metrics[0].metrics
    assert [point.count for point in metric.data.data_points] == [2, 2]
    assert collector.ended


async def test_a_slow_collector_is_sent_one_export_at_a_time():
    genai, charge, told = GenAiMetrics(), _charge(), threading.Event()

    class _Slow(_Collector):
        def export(self, metrics_data: MetricsData, *_: object, **__: object) -> MetricExportResult:
            told.wait(30)
            return super().export(metrics_data)

    collector = _Slow()
    exporting = _export(genai, collector)
    genai.record(charge, charge.attempts[0], "fake/gpt-x")
    running = asyncio.create_task(exporting.run(0.001))
    await asyncio.sleep(0.1)
    running.cancel()
    told.set()
    exporting.ending()()

    assert len(collector.told) == 2


def test_an_exporter_that_fails_is_logged(caplog: pytest.LogCaptureFixture):
    class _Broken(_Collector):
        def export(self, metrics_data: MetricsData, *_: object, **__: object) -> MetricExportResult:
            raise OSError(metrics_data)

    genai, charge, collector = GenAiMetrics(), _charge(), _Broken()
    genai.record(charge, charge.attempts[0], "fake/gpt-x")
    _export(genai, collector).ending()()

    assert "metrics are not exported: OSError" in caplog.text
    assert collector.ended
