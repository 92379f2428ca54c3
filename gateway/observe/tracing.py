"""Which requests are traced, and the span of each as a whole."""

import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from litestar.types import HTTPScope
from opentelemetry import trace as otel
from opentelemetry.context import Context
from opentelemetry.trace.propagation import set_span_in_context

from config.telemetry import TelemetrySettings
from gateway.govern.charge import Exchange
from gateway.observe.genai import GenAiMetrics
from gateway.observe.propagation import Trace, told_trace

_LOW = 2**64


class Tracing:
    """Decides by the caller's word, else by the ratio; the same everywhere for one trace.

    `mask` hides personal data in what is said, where the settings want that on spans.

    Attributes:
        tracer: Whoever opens an exporter puts it here.
        genai: The same.
    """

    def __init__(
        self, settings: TelemetrySettings, mask: Callable[[str], str] | None = None
    ) -> None:
        self.tracer: otel.Tracer | None = None
        self.genai: GenAiMetrics | None = None
        self._trusts = settings.trust_traceparent
        self._to_hosted = settings.hosted_traceparent
        self._mask = mask if settings.content else None
        self._bound = round(settings.sample_ratio * _LOW)

    def begin(self, headers: Iterable[tuple[bytes, bytes]]) -> Trace:
        """Return the trace of a request."""
        told = told_trace(headers) if self._trusts else None
        if told:
            number, parent, sampled, state = told
        else:
            number, parent, state = random.getrandbits(128) or 1, "", ""
            sampled = self.tracer is not None and number % _LOW < self._bound
        tracer = self.tracer if sampled else None
        return Trace(number, parent, sampled, state, tracer, self._to_hosted, self._mask)


@contextmanager
def server_span(scope: HTTPScope, exchange: Exchange) -> Iterator[None]:
    """Trace a request as a whole; its path is not told, which holds what callers call things."""
    trace, method = exchange.trace, scope["method"]
    assert trace.tracer is not None, "it is traced"  # noqa: S101
    span = trace.tracer.start_span(
        method,
        context=_caller(trace),
        kind=otel.SpanKind.SERVER,
        attributes={"http.request.method": method, "naru.request_id": exchange.request_id},
    )
    try:
        with otel.use_span(span, record_exception=False, set_status_on_exception=False):
            yield
    finally:
        _describe(span, method, scope.get("path_template"), exchange.status)
        span.end()


def _describe(span: otel.Span, method: str, route: str | None, status: int) -> None:
    if route:
        span.update_name(f"{method} {route}")
        span.set_attribute("http.route", route)
    if status:
        span.set_attribute("http.response.status_code", status)
    if status >= 500:
        span.set_attribute("error.type", str(status))
        span.set_status(otel.StatusCode.ERROR)


def _caller(trace: Trace) -> Context:
    """Return the caller's span; of a trace that begins here only its id, which the SDK asks for."""
    if not trace.parent:
        return otel.set_span_in_context(otel.INVALID_SPAN)
    flags = otel.TraceFlags(otel.TraceFlags.SAMPLED)
    context = otel.SpanContext(
        trace.number, int(trace.parent, 16), is_remote=True, trace_flags=flags
    )
    return set_span_in_context(otel.NonRecordingSpan(context))
