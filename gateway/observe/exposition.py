"""`GET /metrics`: Prometheus' text formats."""

from collections.abc import Iterable, Iterator, Sequence

from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from gateway.observe.tally import Counter, Gauge, Histogram, Metric


def render(metrics: Sequence[Metric], accept: str) -> tuple[bytes, str]:
    """Return them in the format that an `Accept` header asks for, and its media type."""
    encode, media_type = choose_encoder(accept)
    return encode(_Told(metrics)), media_type


class _Told(Collector):
    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Family]:
        return map(_family, self._metrics)


def _family(metric: Metric) -> Family:
    if isinstance(metric, Counter):
        counter = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
        # A rate needs the 0 before the first: where it is known what will be counted, it is told.
        for labels, value in (metric.values or ({} if metric.labels else {(): 0.0})).items():
            counter.add_metric(labels, value)
        return counter
    if isinstance(metric, Gauge):
        gauge = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
        for labels, value in metric.values.items():
            gauge.add_metric(labels, value)
        return gauge
    histogram = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, counts in metric.values.items():
        histogram.add_metric(labels, list(_buckets(metric, counts)), counts[-1])
    return histogram


def _buckets(metric: Histogram, counts: Sequence[float]) -> Iterator[tuple[str, float]]:
    so_far = 0.0
    for bound, count in zip((*metric.bounds, float("inf")), counts[:-1], strict=True):
        so_far += count
        yield "+Inf" if bound == float("inf") else str(bound), so_far
