"""OpenTelemetry's metrics of generative AI, for who collects by OTLP.

They are counted by hand and exported as they are: the SDK's own instruments take a call more time
than all other telemetry together.
"""

import time
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from opentelemetry import trace as otel

from gateway.govern.charge import Attempt, Charge, Kind, Place
from gateway.observe.asking import OPERATIONS, named
from gateway.observe.tally import Labels

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

    began_ns: int
    counts: list[int]
    sum: float = 0
    least: float = float("inf")
    most: float = float("-inf")
    exemplars: dict[int, tuple[float, int, otel.SpanContext]] = field(default_factory=dict)


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

    def observe(self, value: float, told: Labels, span: otel.SpanContext | None) -> None:
        """Count a value; `span` is that of a request that is traced."""
        series = self.series.get(told)
        if series is None:
            counts = [0] * (len(self.bounds) + 1)
            series = self.series[told] = Series(self.since_ns or time.time_ns(), counts)
        bucket = bisect_left(self.bounds, value)
        series.counts[bucket] += 1
        series.sum += value
        if value < series.least:  # noqa: PLR1730 - as fast again as `min`
            series.least = value
        if value > series.most:  # noqa: PLR1730
            series.most = value
        if span:
            series.exemplars[bucket] = value, time.time_ns(), span


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

    def __iter__(self) -> Iterator[Instrument]:
        """Return what is exported."""
        return iter((self._tokens, self._duration, self._first_chunk))

    def record(self, charge: Charge, attempt: Attempt, target: str) -> None:
        """Record the attempt that answered a call, or was the last one; `target` is its label."""
        call = _call(charge.asked.kind, attempt.place, attempt.target, target)
        usage, span = attempt.usage, _span(charge)
        self._tokens.observe(usage.prompt_tokens, (*call, "input"), span)
        self._tokens.observe(usage.completion_tokens, (*call, "output"), span)
        if charge.first_token_at is not None:
            self._first_chunk.observe(charge.first_token_at - charge.started, call, span)
        error = ""
        if charge.ending != "completed":
            error = "upstream" if attempt.failed else "interrupted"
        self._duration.observe(time.monotonic() - charge.started, (*call, error), span)

    def forget_exemplars(self) -> None:
        """Say that they are told: each is once."""
        for instrument in self:
            for series in instrument.series.values():
                series.exemplars.clear()

    def begin_anew(self, now_ns: int) -> None:
        """Count from nothing again."""
        for instrument in self:
            instrument.series.clear()
            instrument.since_ns = now_ns


@lru_cache
def _call(kind: Kind, place: Place, asked: str, target: str) -> Labels:
    provider, model = named(asked, place)
    # A model that a caller made up is told by its provider alone.
    return OPERATIONS.get(kind, "chat"), provider, "" if target.endswith("*") else model


def _span(charge: Charge) -> otel.SpanContext | None:
    if charge.exchange.trace.tracer is None:
        return None
    span = otel.get_current_span().get_span_context()
    return span if span.is_valid else None
