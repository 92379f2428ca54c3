"""Parts of a request's work: how long each took, and a span where the request is traced."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from time import perf_counter
from types import MappingProxyType, TracebackType
from typing import Any

from opentelemetry import trace as otel

from gateway.errors import GatewayError, UpstreamRefused
from gateway.govern.charge import Exchange, current_exchange

_NONE: Mapping[str, str | int] = MappingProxyType({})
_NOTHING: AbstractContextManager[Any] = nullcontext()


class Phase:
    """Times what is done within it; what one request does again is added up.

    Who has the request's `exchange` at hand need not have it looked up.
    """

    __slots__ = ("_began", "_exchange", "_name", "_span")

    def __init__(self, name: str, exchange: Exchange | None = None) -> None:
        self._name = name
        self._exchange = exchange or current_exchange()

    def __enter__(self) -> None:
        self._span: _Spanning | None = None
        if tracer := self._exchange.trace.tracer:
            self._span = _Spanning(tracer, self._name, _NONE)
            self._span.__enter__()
        self._began = perf_counter()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        phases, name = self._exchange.phases, self._name
        phases[name] = phases.get(name, 0.0) + perf_counter() - self._began
        if self._span:
            self._span.__exit__(kind, error, trace)


class _Spanning:
    """A span that is the current one; of an error it tells the kind, never the words."""

    def __init__(self, tracer: otel.Tracer, name: str, attributes: Mapping[str, str | int]) -> None:
        self._current = tracer.start_as_current_span(
            name, attributes=attributes, record_exception=False, set_status_on_exception=False
        )

    def __enter__(self) -> otel.Span:
        self._span = self._current.__enter__()
        return self._span

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, Exception):
            note_error(self._span, error)
        self._current.__exit__(kind, error, trace)


def traced(name: str, told: Mapping[str, str | int] = _NONE) -> AbstractContextManager[Any]:
    """Return a span of the request; nothing where that is not traced."""
    tracer = current_exchange().trace.tracer
    return _Spanning(tracer, name, told) if tracer else _NOTHING


def note_error(span: otel.Span, error: Exception) -> None:
    """Say on a span what it failed with."""
    own = isinstance(error, GatewayError) and not isinstance(error, UpstreamRefused)
    code = error.code if own and isinstance(error, GatewayError) else None
    span.set_attribute("error.type", code or type(error).__name__)
    span.set_status(otel.StatusCode.ERROR)
