from collections.abc import Sequence

from config.scope import TenantScope
from config.telemetry import TelemetrySettings
from gateway.govern.charge import Asked, Charge
from gateway.observe import metrics
from gateway.observe.batches import AT_ONCE, Batch, Row, flush_batches
from gateway.observe.labels import Targets
from gateway.observe.recording import Recorder
from gateway.observe.tally import Histogram, Labels
from gateway.observe.tracing import Tracing
from gateway.openai.usage import TokenUsage

_SCOPE = TenantScope("acme", "app", frozenset({"inference"}))
_VALUES = (0.1, 1.0, 0.3, 7.5, 10.0, 10.1, 0.0, 1.0)


def test_values_at_once_are_counted_like_each_in_its_turn():
    once, each = (Histogram("naru_size", "How large.", (1.0, 10.0), ("kind",)) for _ in range(2))
    for _ in range(2):
        once.observe_all(_VALUES, "a")
        for value in _VALUES:
            each.observe(value, "a")

    assert once.values == each.values == {("a",): [10, 4, 2, each.values["a",][-1]]}


def test_rows_are_counted_by_their_labels_when_they_are_many_or_somebody_reads():
    counted: list[tuple[Labels, int]] = []

    def count(labels: Labels, rows: Sequence[Row]) -> None:
        counted.append((labels, len(rows)))

    batch = Batch(count)
    for number in range(AT_ONCE + 1):
        batch.add(("a",), (number,))
    batch.add(("b",), (1,))
    assert counted == [(("a",), AT_ONCE)]

    flush_batches()
    flush_batches()
    assert sorted(counted) == [(("a",), 1), (("a",), AT_ONCE), (("b",), 1)]


def test_each_target_that_was_asked_is_counted_as_it_went():
    record = Recorder(Targets(["a/1", "a/2"]), Tracing(TelemetrySettings())).record
    for ending in ("completed", "abstained", "client_gone", "internal_error"):
        charge = Charge(_SCOPE, Asked("chat", "smart"), ending=ending)
        for target, failed in (("a/1", True), ("a/2", False), ("a/2", False)):
            attempt = charge.attempt(target, "hosted")
            attempt.failed, attempt.cost, attempt.usage = failed, 5, TokenUsage(100, 20)
        attempt.usage.cached_tokens = 3
        record(charge)
    flush_batches()

    assert _of("a/", metrics.TARGET_REQUESTS.values) == {
        ("a/1", "failed"): 4,
        ("a/2", "answered"): 6,
        ("a/2", "cut_off"): 1,
        ("a/2", "failed"): 1,
    }
    assert _of("a/", metrics.TOKENS.values) == {
        ("a/1", "input"): 400,
        ("a/1", "output"): 80,
        ("a/2", "input"): 800,
        ("a/2", "output"): 160,
        ("a/2", "cached"): 12,
    }
    assert _of("a/", metrics.COST.values) == {("a/1",): 20e-9, ("a/2",): 40e-9}


def _of(target: str, values: dict[Labels, float]) -> dict[Labels, float]:
    # A billionth of a nano-dollar is nothing.
    return {k: round(value, 12) for k, value in values.items() if k[0].startswith(target)}
