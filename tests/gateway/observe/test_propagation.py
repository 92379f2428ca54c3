import re

import pytest

from config.telemetry import TelemetrySettings
from gateway.observe.propagation import Trace, told_trace
from gateway.observe.tracing import Tracing

_ID, _SPAN = b"0af7651916cd43dd8448eb211c80319c", b"b7ad6b7169203331"
_NUMBER = int(_ID, 16)


def test_a_trace_context_is_read():
    headers = [
        (b"traceparent", b"00-%s-%s-01" % (_ID, _SPAN)),
        (b"tracestate", b"a=1"),
        (b"tracestate", b"b=2"),
    ]

    assert told_trace(headers) == (_NUMBER, _SPAN.decode(), True, "a=1,b=2")


def test_a_later_version_may_tell_more():
    told = told_trace([(b"traceparent", b"01-%s-%s-00-what" % (_ID, _SPAN))])

    assert told == (_NUMBER, _SPAN.decode(), False, "")


@pytest.mark.parametrize(
    "parent",
    [
        b"",
        b"00-%s-%s" % (_ID, _SPAN),
        b"00-%s-%s-01-more" % (_ID, _SPAN),
        b"ff-%s-%s-01" % (_ID, _SPAN),
        b"00-%s-%s-01" % (b"0" * 32, _SPAN),
        b"00-%s-%s-01" % (_ID, b"0" * 16),
        b"00-%s-%s-01" % (_ID.upper(), _SPAN),
        b"00-%s-%s-0\n" % (_ID, _SPAN),
    ],
)
def test_what_is_no_trace_context_is_passed_over(parent: bytes):
    assert told_trace([(b"traceparent", parent)]) is None


def test_two_parents_are_none():
    parent = (b"traceparent", b"00-%s-%s-01" % (_ID, _SPAN))

    assert told_trace([parent, parent]) is None


def test_a_long_state_is_left_behind():
    headers = [(b"traceparent", b"00-%s-%s-01" % (_ID, _SPAN)), (b"tracestate", b"a=" + b"x" * 600)]

    assert told_trace(headers) == (_NUMBER, _SPAN.decode(), True, "")


def test_a_callers_word_counts_only_where_it_is_trusted():
    headers = [(b"traceparent", b"00-%s-%s-01" % (_ID, _SPAN))]
    trace = Tracing(TelemetrySettings(trust_traceparent=False)).begin(headers)

    assert trace.number != _NUMBER
    assert not trace.sampled


@pytest.mark.parametrize(("ratio", "least", "most"), [(0, 0, 0), (0.5, 400, 600), (1, 1000, 1000)])
def test_the_ratio_is_kept(ratio: float, least: int, most: int):
    tracing = Tracing(TelemetrySettings(sample_ratio=ratio))
    tracing.tracer = object()  # type: ignore[assignment]
    sampled = [trace for trace in (tracing.begin([]) for _ in range(1000)) if trace.sampled]

    assert least <= len(sampled) <= most
    assert all(trace.tracer for trace in sampled)


def test_who_is_in_no_trace_tells_of_none():
    assert Trace().headers() == {}


def test_who_records_nothing_still_tells_the_trace():
    told = Trace(1).headers()["traceparent"]

    assert re.fullmatch(rf"00-{'0' * 31}1-[0-9a-f]{{16}}-00", told)
