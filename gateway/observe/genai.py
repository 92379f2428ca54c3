"""OpenTelemetry's metrics of generative AI, for who collects by OTLP.

They are counted by hand and exported as they are: the SDK's own instruments take a call more time
than all other telemetry together.
"""

import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from opentelemetry import trace as otel

from gateway.govern.charge import Attempt, Charge, Kind, Place
from gateway.observe.asking import OPERATIONS, named
from gateway.observe.batches import AT_ONCE, Row
from gateway.observe.tally import Labels, bucketed

_TOKENS = tuple(4.0**power for power in range(14))
_SECONDS = tuple(0.01 * 2**power for power in range(14))
_CALL = ("gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model")


@dataclass(slots=True)
class Series:
    """What was observed with the same attributes.

    Attributes:
        counts: How many were at most as large as each bound and, at last, larger than all.
        exemplars: The last one of a traced request in a bucket: value, `time.time_ns()`, its span.
    """

    bounds: tuple[float, ...]
    began_ns: int
    counts: list[int]
    sum: float = 0
    least: float = float("inf")
    most: float = float("-inf")
    exemplars: dict[int, tuple[float, int, otel.SpanContext]] = field(default_factory=dict)

    def observe_all(self, values: Sequence[float]) -> None:
        """Count many values at once."""
        for bucket, count in bucketed(self.bounds, values):
            self.counts[bucket] += count
        self.sum = sum(values, self.sum)
        self.least = min(self.least, *values)
        self.most = max(self.most, *values)

    def exemplify(self, value: float, span: otel.SpanContext) -> None:
        """Keep a value as its bucket's example, of a request that is traced."""
        self.exemplars[bisect_left(self.bounds, value)] = value, time.time_ns(), span


@dataclass(slots=True)
class Instrument:
    """A histogram as OpenTelemetry has it; attributes that are empty are not told.

    Attributes:
        since_ns: When `series` were begun anew; 0: each began with its first value.
    """

    name: str
    unit: str
    bounds: tuple[float, ...]
    attributes: tuple[str, ...]
    series: dict[Labels, Series] = field(default_factory=dict)
    since_ns: int = 0

    def of(self, *told: str) -> Series:
        """Return the series with these attributes, which begins now where there was none."""
        series = self.series.get(told)
        if series is None:
            began_ns, counts = self.since_ns or time.time_ns(), [0] * (len(self.bounds) + 1)
            series = self.series[told] = Series(self.bounds, began_ns, counts)
        return series


class _Calls:
    """Calls with the same attributes: what was observed of each, and the series of that."""

    __slots__ = ("rows", "series")

    def __init__(self, series: Sequence[Series]) -> None:
        self.series = series
        self.rows: list[Row] = []

    def flush(self) -> None:
        """Count them all at once, see `gateway.observe.batches`."""
        for series, values in zip(self.series, zip(*self.rows, strict=True), strict=False):
            series.observe_all(values)
        self.rows.clear()


class GenAiMetrics:
    """`gen_ai.client.…`: how long targets took for calls, and how many tokens."""

    def __init__(self) -> None:
        self._tokens = Instrument(
            "gen_ai.client.token.usage", "{token}", _TOKENS, (*_CALL, "gen_ai.token.type")
        )
        self._duration = Instrument(
            "gen_ai.client.operation.duration", "s", _SECONDS, (*_CALL, "error.type")
        )
        self._first_chunk = Instrument(
            "gen_ai.client.operation.time_to_first_chunk", "s", _SECONDS, _CALL
        )
        self._calls: dict[tuple[Labels, str, int], _Calls] = {}

    def __iter__(self) -> Iterator[Instrument]:
        """Return what is exported."""
        for calls in self._calls.values():
            calls.flush()
        return iter((self._tokens, self._duration, self._first_chunk))

    def record(self, charge: Charge, attempt: Attempt, target: str) -> None:
        """Record the attempt that answered a call, or was the last one; `target` is its label."""
        call, error = _call(charge.asked.kind, attempt.place, attempt.target, target), ""
        if charge.ending != "completed":
            error = "upstream" if attempt.failed else "interrupted"
        usage, began, first = attempt.usage, charge.started, charge.first_token_at
        row: Row = (usage.prompt_tokens, usage.completion_tokens, time.monotonic() - began)
        if first is not None:
            row = (*row, first - began)
        key = call, error, len(row)
        calls = self._calls.get(key) or self._begin(*key)
        calls.rows.append(row)
        if len(calls.rows) >= AT_ONCE:
            calls.flush()
        if charge.exchange.trace.tracer is not None:
            _exemplify(calls.series, row)

    def _begin(self, call: Labels, error: str, numbers: int) -> _Calls:
        tokens, took = self._tokens, self._duration.of(*call, error)
        series = [tokens.of(*call, "input"), tokens.of(*call, "output"), took]
        if numbers > len(series):
            series.append(self._first_chunk.of(*call))
        calls = self._calls[call, error, numbers] = _Calls(series)
        return calls

    def forget_exemplars(self) -> None:
        """Say that they are told: each is once."""
        for instrument in self:
            for series in instrument.series.values():
                series.exemplars.clear()

    def begin_anew(self, now_ns: int) -> None:
        """Count from nothing again."""
        self._calls.clear()
        for instrument in self:
            instrument.series.clear()
            instrument.since_ns = now_ns


@lru_cache
def _call(kind: Kind, place: Place, asked: str, target: str) -> Labels:
    provider, model = named(asked, place)
    # A model that a caller made up is told by its provider alone.
    return OPERATIONS.get(kind, "chat"), provider, "" if target.endswith("*") else model


def _exemplify(series: Sequence[Series], row: Row) -> None:
    span = otel.get_current_span().get_span_context()
    if span.is_valid:
        for each, value in zip(series, row, strict=True):
            each.exemplify(value, span)
