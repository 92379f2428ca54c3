"""The tests' own reader of server-sent events reads what WHATWG HTML §9.2.6 says."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sse_reader import SentEvent, SseReader

from gateway.sse import Frame, comment


def read(*parts: bytes) -> list[SentEvent]:
    reader = SseReader()
    return [event for part in parts for event in reader.feed(part)]


def said(*data: str) -> list[SentEvent]:
    return [SentEvent("message", text, "") for text in data]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: YHOO\ndata: +2\ndata: 10\n\n", said("YHOO\n+2\n10")),
        (
            b": test\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third\n\n",
            [
                SentEvent("message", "first event", "1"),
                *said("second event", " third"),
            ],
        ),
        (b"data\n\ndata\ndata\n\ndata:", said("", "\n")),
        (b"data:test\n\ndata: test\n\n", said("test", "test")),
        (b"event: add\ndata: 73\n\ndata: 5\n\n", [SentEvent("add", "73", ""), *said("5")]),
        (b"event: add\n\ndata: 5\n\n", said("5")),
        (b"\xef\xbb\xbfdata: x\r\rdata: y\r\n\r\ndata: z\n", said("x", "y")),
        (b"id: a\0b\nunknown: 1\n data: 2\ndata: x\n\n", said("x")),
        (b"id: 7\n\ndata: x\n\n", [SentEvent("message", "x", "7")]),
    ],
)
def test_the_standards_examples(stream: bytes, events: list[SentEvent]) -> None:
    assert read(stream) == events


def test_when_to_come_back() -> None:
    reader = SseReader()
    list(reader.feed(b"retry: 10\nretry: 1x\nid: 4\n\n"))
    assert (reader.retry_ms, reader.last_event_id) == (10, "4")


LINES = [*(b"data: \xea\xb0\x80", b"data", b"event: e", b"id: 1", b": words"), *([b""] * 3)]


@given(
    st.lists(st.tuples(st.sampled_from(LINES), st.sampled_from([b"\n", b"\r", b"\r\n"]))),
    st.lists(st.integers(0, 60)),
)
def test_where_a_stream_is_cut_does_not_matter(
    lines: list[tuple[bytes, bytes]], cuts: list[int]
) -> None:
    stream = b"".join(line + end for line, end in lines)
    places = [0, *sorted(cuts), len(stream)]
    parts = [stream[at:to] for at, to in itertools.pairwise(places)]
    assert read(*parts) == read(stream)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_stream(stream: bytes) -> None:
    whole = read(stream)
    assert read(*(stream[at : at + 1] for at in range(len(stream)))) == whole


def test_our_frames_are_read_as_they_are_meant() -> None:
    stream = Frame(b'{"a":1}', "delta").encode("msg_0.1") + comment(b"keep-alive")
    stream += Frame(b"{}").encode()
    assert read(stream) == [
        SentEvent("delta", '{"a":1}', "msg_0.1"),
        SentEvent("message", "{}", "msg_0.1"),
    ]
