"""OpenTelemetry's metrics of generative AI, for who collects by OTLP."""

import time

from opentelemetry.metrics import Histogram, Meter

from gateway.govern.charge import Attempt, Charge
from gateway.observe.asking import OPERATIONS, named

_TOKENS = tuple(4.0**power for power in range(14))
_SECONDS = tuple(0.01 * 2**power for power in range(14))
_Attributes = dict[str, str]


class GenAiMetrics:
    """`gen_ai.client.…`: how long targets took for calls, and how many tokens."""

    def __init__(self, meter: Meter) -> None:
        self._tokens = _histogram(meter, "gen_ai.client.token.usage", "{token}", _TOKENS)
        self._duration = _histogram(meter, "gen_ai.client.operation.duration", "s", _SECONDS)
        name = "gen_ai.client.operation.time_to_first_chunk"
        self._first_chunk = _histogram(meter, name, "s", _SECONDS)

    def record(self, charge: Charge, attempt: Attempt, target: str) -> None:
        """Record the attempt that answered a call, or was the last one; `target` is its label."""
        told = _attributes(charge, attempt, target)
        usage = attempt.usage
        self._tokens.record(usage.prompt_tokens, told | {"gen_ai.token.type": "input"})
        self._tokens.record(usage.completion_tokens, told | {"gen_ai.token.type": "output"})
        if charge.first_token_at is not None:
            self._first_chunk.record(charge.first_token_at - charge.started, told)
        if charge.ending != "completed":
            told["error.type"] = "upstream" if attempt.failed else "interrupted"
        self._duration.record(time.monotonic() - charge.started, told)


def _attributes(charge: Charge, attempt: Attempt, target: str) -> _Attributes:
    provider, model = named(attempt)
    operation = OPERATIONS.get(charge.asked.kind, "chat")
    told = {"gen_ai.operation.name": operation, "gen_ai.provider.name": provider}
    # A model that a caller made up is told by its provider alone.
    return told if target.endswith("*") else told | {"gen_ai.request.model": model}


def _histogram(meter: Meter, name: str, unit: str, bounds: tuple[float, ...]) -> Histogram:
    return meter.create_histogram(name, unit, explicit_bucket_boundaries_advisory=bounds)
