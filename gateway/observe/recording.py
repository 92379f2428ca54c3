"""What is counted of a call of a model: once, when it is settled."""

import time
from collections.abc import Sequence

from gateway.govern.charge import Attempt, Charge
from gateway.observe import metrics
from gateway.observe.asking import end_span
from gateway.observe.batches import Batch, Row
from gateway.observe.labels import Targets, coarse
from gateway.observe.tally import Labels
from gateway.observe.tracing import Tracing

_ENDINGS = frozenset(
    {"completed", "abstained", "client_gone", "server_shutdown", "cancelled", "killed"}
)
_BUDGETS = frozenset({"budget_exhausted", "budget_unavailable", "model_unpriced"})
_REFUSED = frozenset({*_BUDGETS, "rate_limit_exceeded", "guardrail_blocked", "pii_blocked"})
_OUTCOMES = {**{ending: ending for ending in _ENDINGS}, **dict.fromkeys(_REFUSED, "refused")}
_WENT = {**dict.fromkeys(_ENDINGS, "cut_off"), "completed": "answered", "abstained": "answered"}
_NANO = 1e-9


class Recorder:
    """Counts the calls of one process."""

    def __init__(self, targets: Targets, tracing: Tracing) -> None:
        self._label = targets.label
        self._tracing = tracing

    def record(self, charge: Charge) -> None:
        """Count a call whose account is settled."""
        ending = charge.ending
        metrics.REQUESTS.add(charge.asked.kind, _OUTCOMES.get(ending, "failed"))
        if ending in _BUDGETS:
            metrics.BUDGET_REFUSALS.add(ending)
        if charge.attempts:
            self._record_attempts(charge)
        if charge.fallback:
            self._count_passed(charge.fallback)
        for guardrail, verdict in charge.verdicts.items():
            metrics.GUARDRAIL_VERDICTS.add(guardrail, verdict.partition(" ")[0])

    def _record_attempts(self, charge: Charge) -> None:
        *passed, last = charge.attempts
        for attempt in passed:
            _count(attempt, self._label(attempt.target), "answered")
        target = self._label(last.target)
        _count(last, target, _WENT.get(charge.ending, "failed"))
        if self._tracing.genai:
            self._tracing.genai.record(charge, last, target)
        if charge.first_token_at is not None:
            _time(charge, last, target, charge.first_token_at)

    def _count_passed(self, fallback: str) -> None:
        for passed in fallback.split(", "):
            target, _, reason = passed.rpartition(": ")
            metrics.FALLBACKS.add(self._label(target), coarse(reason))


def _count(attempt: Attempt, target: str, went: str) -> None:
    usage = attempt.usage
    _ASKED.add(
        (target, "failed" if attempt.failed else went),
        (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens, attempt.cost or 0),
    )
    end_span(attempt)


def _time(charge: Charge, last: Attempt, target: str, first_token_at: float) -> None:
    metrics.TIME_TO_FIRST_TOKEN.observe(first_token_at - charge.started, target)
    if (tokens := last.usage.completion_tokens) > 1:
        spoken_s = time.monotonic() - first_token_at
        metrics.INTER_TOKEN.observe(spoken_s / (tokens - 1), target)


def _count_asked(labels: Labels, rows: Sequence[Row]) -> None:
    prompt, answer, cached, cost = map(sum, zip(*rows, strict=True))
    target, went = labels
    metrics.TARGET_REQUESTS.add(target, went, by=len(rows))
    metrics.TOKENS.add(target, "input", by=prompt)
    metrics.TOKENS.add(target, "output", by=answer)
    if cached:
        metrics.TOKENS.add(target, "cached", by=cached)
    if cost:
        metrics.COST.add(target, by=cost * _NANO)


_ASKED = Batch(_count_asked)
