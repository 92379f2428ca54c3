"""What is counted of a call of a model: once, when it is settled."""

import time

from gateway.govern.charge import Attempt, Charge
from gateway.observe import metrics
from gateway.observe.asking import end_span
from gateway.observe.labels import Targets, coarse
from gateway.observe.tracing import Tracing

_ENDINGS = frozenset(
    {"completed", "abstained", "client_gone", "server_shutdown", "cancelled", "killed"}
)
_BUDGETS = frozenset({"budget_exhausted", "budget_unavailable", "model_unpriced"})
_REFUSED = frozenset({*_BUDGETS, "rate_limit_exceeded", "guardrail_blocked", "pii_blocked"})
_NANO = 1e-9


class Recorder:
    """Counts the calls of one process."""

    def __init__(self, targets: Targets, tracing: Tracing) -> None:
        self._label = targets.label
        self._tracing = tracing

    def record(self, charge: Charge) -> None:
        """Count a call whose account is settled."""
        ending = charge.ending
        metrics.REQUESTS.add(charge.asked.kind, _outcome(ending))
        if ending in _BUDGETS:
            metrics.BUDGET_REFUSALS.add(ending)
        for attempt in charge.attempts:
            self._count(attempt, _went(charge, attempt))
            end_span(attempt)
        if self._tracing.genai and charge.attempts:
            last = charge.attempts[-1]
            self._tracing.genai.record(charge, last, self._label(last.target))
        if charge.first_token_at is not None and charge.attempts:
            self._time(charge, charge.first_token_at)
        if charge.fallback:
            self._count_passed(charge.fallback)
        for guardrail, verdict in charge.verdicts.items():
            metrics.GUARDRAIL_VERDICTS.add(guardrail, verdict.partition(" ")[0])

    def _count(self, attempt: Attempt, outcome: str) -> None:
        target, usage = self._label(attempt.target), attempt.usage
        metrics.TARGET_REQUESTS.add(target, outcome)
        metrics.TOKENS.add(target, "input", by=usage.prompt_tokens)
        metrics.TOKENS.add(target, "output", by=usage.completion_tokens)
        if usage.cached_tokens:
            metrics.TOKENS.add(target, "cached", by=usage.cached_tokens)
        if attempt.cost:
            metrics.COST.add(target, by=attempt.cost * _NANO)

    def _time(self, charge: Charge, first_token_at: float) -> None:
        last = charge.attempts[-1]
        target = self._label(last.target)
        metrics.TIME_TO_FIRST_TOKEN.observe(first_token_at - charge.started, target)
        if (tokens := last.usage.completion_tokens) > 1:
            spoken_s = time.monotonic() - first_token_at
            metrics.INTER_TOKEN.observe(spoken_s / (tokens - 1), target)

    def _count_passed(self, fallback: str) -> None:
        for passed in fallback.split(", "):
            target, _, reason = passed.rpartition(": ")
            metrics.FALLBACKS.add(self._label(target), coarse(reason))


def _outcome(ending: str) -> str:
    if ending in _ENDINGS:
        return ending
    return "refused" if ending in _REFUSED else "failed"


def _went(charge: Charge, attempt: Attempt) -> str:
    if attempt.failed:
        return "failed"
    if attempt is not charge.attempts[-1] or charge.ending in ("completed", "abstained"):
        return "answered"
    return "cut_off" if charge.ending in _ENDINGS else "failed"
