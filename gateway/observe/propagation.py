"""Which trace a request belongs to: W3C trace context, in and out."""

import random
import re
from collections.abc import Callable, Iterable

import msgspec
from opentelemetry import trace as otel

_PARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_MAX_STATE_BYTES = 512
_SAMPLED = 1


class Trace(msgspec.Struct, frozen=True):
    """A request's trace.

    Attributes:
        number: Its id; 0 where no request is.
        parent: The caller's span, 16 hexadecimal digits; empty where it told none.
        sampled: Whether somebody records it.
        state: The caller's `tracestate`, passed on as it is.
        tracer: Makes its spans; None where we do not record it.
        to_hosted: Whether hosted targets are told of it.
        mask: Masks what is said on its spans; None where nothing of it is put there.
    """

    number: int = 0
    parent: str = ""
    sampled: bool = False
    state: str = ""
    tracer: otel.Tracer | None = None
    to_hosted: bool = False
    mask: Callable[[str], str] | None = None

    @property
    def id(self) -> str:
        """Its id in 32 hexadecimal digits; empty where no request is."""
        return f"{self.number:032x}" if self.number else ""

    def headers(self) -> dict[str, str]:
        """Return what tells a server that is asked now of the trace."""
        if not self.number:
            return {}
        span = otel.get_current_span().get_span_context().span_id if self.tracer else 0
        # A parent is demanded even of who records nothing.
        parent = f"{span:016x}" if span else self.parent or f"{random.getrandbits(64) | 1:016x}"
        told = {"traceparent": f"00-{self.id}-{parent}-{self.sampled:02x}"}
        return told | {"tracestate": self.state} if self.state else told


UNTRACED = Trace()


def told_trace(headers: Iterable[tuple[bytes, bytes]]) -> tuple[int, str, bool, str] | None:
    """Return a caller's trace, span, whether it is sampled, and state; None where it tells none."""
    # Most callers tell none, which one look at all headers shows.
    if b"traceparent" not in dict(headers):
        return None
    parents = [value for name, value in headers if name == b"traceparent"]
    if len(parents) != 1:
        return None
    found = _PARENT.fullmatch(parents[0])
    if found is None or (parents[0][:2] == b"00" and len(parents[0]) != 55):
        return None
    trace_id, span_id, flags = (group.decode() for group in found.groups())
    number = int(trace_id, 16)
    if not number or not int(span_id, 16):
        return None
    states = b",".join(value for name, value in headers if name == b"tracestate")
    state = states.decode("latin-1") if len(states) <= _MAX_STATE_BYTES else ""
    return number, span_id, bool(int(flags, 16) & _SAMPLED), state
