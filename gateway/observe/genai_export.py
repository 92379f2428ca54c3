"""What `GenAiMetrics` has counted on its way to a collector, in the SDK's own types."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable

from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricExporter,
    MetricsData,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from gateway.observe.genai import GenAiMetrics, Instrument, Series
from gateway.observe.tally import Labels

_log = logging.getLogger(__name__)


class GenAiExport:
    """Exports at an interval, in a thread for which neither requests nor the process wait."""

    def __init__(
        self,
        genai: GenAiMetrics,
        exporter: MetricExporter,
        resource: Resource,
        scope: InstrumentationScope,
        *,
        delta: bool,
    ) -> None:
        self._genai = genai
        self._exporter = exporter
        self._resource = resource
        self._scope = scope
        self._delta = delta
        self._sending: threading.Thread | None = None

    async def run(self, interval_s: float) -> None:
        """Export until it is cancelled."""
        while True:
            await asyncio.sleep(interval_s)
            # Where a collector is slow, it is told all with the next.
            if self._sending is None or not self._sending.is_alive():
                send = self._sender()
                self._sending = threading.Thread(target=send, name="naru-metrics", daemon=True)
                self._sending.start()

    def ending(self) -> Callable[[], None]:
        """Return what exports the rest, from a thread; nothing is counted any more."""
        sending, send = self._sending, self._sender()

        def end() -> None:
            if sending:
                sending.join()
            send()
            self._exporter.shutdown()

        return end

    def _sender(self) -> Callable[[], None]:
        """Return what sends that which is counted now."""
        metrics = collected(self._genai, delta=self._delta)
        told = ScopeMetrics(self._scope, metrics, self._scope.schema_url or "")
        data = MetricsData([ResourceMetrics(self._resource, [told], self._resource.schema_url)])

        def send() -> None:
            try:
                if metrics:
                    self._exporter.export(data)
            except Exception as error:  # noqa: BLE001 - the next export may succeed
                _log.warning("metrics are not exported: %s", type(error).__name__)

        return send


def collected(genai: GenAiMetrics, *, delta: bool) -> list[Metric]:
    """Return what was counted, on the event loop; with `delta` what was since the last time."""
    now_ns = time.time_ns()
    kind = AggregationTemporality.DELTA if delta else AggregationTemporality.CUMULATIVE
    told = [_metric(each, now_ns, kind) for each in genai if each.series]
    genai.forget_exemplars()
    if delta:
        genai.begin_anew(now_ns)
    return told


def _metric(instrument: Instrument, now_ns: int, kind: AggregationTemporality) -> Metric:
    points = [_point(instrument, *each, now_ns) for each in instrument.series.items()]
    return Metric(instrument.name, "", instrument.unit, Histogram(points, kind))


def _point(instrument: Instrument, told: Labels, series: Series, now_ns: int) -> HistogramDataPoint:
    named = zip(instrument.attributes, told, strict=True)
    return HistogramDataPoint(
        attributes={name: value for name, value in named if value},
        start_time_unix_nano=series.began_ns,
        time_unix_nano=now_ns,
        count=sum(series.counts),
        sum=series.sum,
        bucket_counts=tuple(series.counts),
        explicit_bounds=instrument.bounds,
        min=series.least,
        max=series.most,
        exemplars=_exemplars(series),
    )


def _exemplars(series: Series) -> list[Exemplar]:
    return [
        Exemplar({}, value, at_ns, span.span_id, span.trace_id)
        for _, (value, at_ns, span) in sorted(series.exemplars.items())
    ]
