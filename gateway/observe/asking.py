"""One target that is asked: a phase, and a span by the conventions for generative AI."""

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

from msgspec.structs import replace
from opentelemetry import context as otel_context
from opentelemetry import trace as otel
from opentelemetry.trace.propagation import set_span_in_context

from gateway.generation.target import Completion, Stream
from gateway.govern.charge import Attempt, Place, current_exchange
from gateway.observe.content import Heard, answered_text, asked_text
from gateway.observe.phases import note_error
from gateway.openai.normalise import Kind

_Answered = TypeVar("_Answered", Completion, Stream)

OPERATIONS: Mapping[str, str] = {
    "chat": "chat",
    "completions": "text_completion",
    "embeddings": "embeddings",
}
_ASKED = {
    "max_tokens": "gen_ai.request.max_tokens",
    "max_completion_tokens": "gen_ai.request.max_tokens",
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "top_k": "gen_ai.request.top_k",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "presence_penalty": "gen_ai.request.presence_penalty",
    "seed": "gen_ai.request.seed",
    "n": "gen_ai.request.choice.count",
}


class Asking:
    """The time until a target has answered, or begun to; what it took is told at the settlement."""

    __slots__ = (
        *("_attempt", "_began", "_entered", "_exchange", "_fields", "_kind", "_queued", "_stream"),
    )

    def __init__(
        self, attempt: Attempt | None, kind: Kind, fields: Mapping[str, Any], *, stream: bool
    ) -> None:
        self._attempt = attempt
        self._kind = kind
        self._fields = fields
        self._stream = stream

    def __enter__(self) -> Self:
        self._exchange = exchange = current_exchange()
        if exchange.trace.tracer and self._attempt:
            self._open(exchange.trace.tracer, self._attempt)
        self._queued = exchange.phases.get("queue", 0.0)
        self._began = time.perf_counter()
        return self

    def heard(self, answered: _Answered) -> _Answered:
        """Put what is answered on the span, where the settings want that; return the answer."""
        mask = self._exchange.trace.mask
        if mask is None:
            return answered
        attempt = self._attempt
        if attempt is None or attempt.span is None:
            return answered
        if isinstance(answered, Stream):
            return replace(answered, payloads=Heard(answered.payloads, attempt, mask))
        attempt.span.set_attribute("gen_ai.output.messages", answered_text(answered.body, mask))
        return answered

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        phases = self._exchange.phases
        took_s = time.perf_counter() - self._began
        queued_s = phases.get("queue", 0.0) - self._queued
        phases["upstream"] = phases.get("upstream", 0.0) + took_s - queued_s
        if attempt := self._attempt:
            attempt.failed = error is not None
            if attempt.span:
                self._leave(attempt, attempt.span, error, took_s)

    def _open(self, tracer: otel.Tracer, attempt: Attempt) -> None:
        provider, model = named(attempt.target, attempt.place)
        operation = OPERATIONS[self._kind]
        span = tracer.start_span(
            f"{operation} {model}",
            kind=otel.SpanKind.CLIENT,
            attributes={
                "gen_ai.operation.name": operation,
                "gen_ai.provider.name": provider,
                "gen_ai.request.model": model,
                "gen_ai.request.stream": self._stream,
                **_told(self._fields),
            },
        )
        if mask := self._exchange.trace.mask:
            span.set_attribute("gen_ai.input.messages", asked_text(self._fields, mask))
        attempt.span = span
        self._entered = otel_context.attach(set_span_in_context(span))

    def _leave(
        self, attempt: Attempt, span: otel.Span, error: BaseException | None, took_s: float
    ) -> None:
        otel_context.detach(self._entered)
        if isinstance(error, Exception):
            note_error(span, error)
        if error is None and self._stream:
            span.set_attribute("gen_ai.response.time_to_first_chunk", took_s)
        else:
            attempt.ended_ns = time.time_ns()


def named(target: str, place: Place) -> tuple[str, str]:
    """Return a target's provider, as the conventions call it, and its model."""
    provider, slash, model = target.partition("/")
    if place == "engine":
        return "vllm", model
    return (provider, model) if slash else ("naru", target)


def end_span(attempt: Attempt) -> None:
    """Say on an attempt's span what it took; it ended earlier where it is not a stream."""
    span, usage = attempt.span, attempt.usage
    if span is None:
        return
    attempt.span = None
    span.set_attribute("gen_ai.usage.input_tokens", usage.prompt_tokens)
    span.set_attribute("gen_ai.usage.output_tokens", usage.completion_tokens)
    if usage.cached_tokens:
        span.set_attribute("gen_ai.usage.cache_read.input_tokens", usage.cached_tokens)
    span.end(attempt.ended_ns)


def _told(fields: Mapping[str, Any]) -> dict[str, int | float]:
    told = ((_ASKED[name], value) for name, value in fields.items() if name in _ASKED)
    return {name: value for name, value in told if type(value) in (int, float)}
