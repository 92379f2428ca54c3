"""The load: what it counts is what was there, and it never waits for who does not answer."""

import asyncio
import math
import time
from typing import cast

import load
import pytest
from load import Alarm, Connection, Load, Result, Target, arrivals, percentile
from mock_support import mock, serving

CHAT = "/v1/chat/completions"


@pytest.mark.parametrize(
    ("share", "value"), [(0.0, 1), (0.5, 50), (0.99, 99), (0.999, 100), (1.0, 100)]
)
def test_a_percentile_is_the_nearest_rank(share: float, value: int):
    assert percentile(list(range(100, 0, -1)), share) == value


def test_a_percentile_of_one_is_that_one_and_of_none_is_no_number():
    assert percentile([7.0], 0.99) == 7.0
    assert math.isnan(percentile([], 0.5))


def test_arrivals_have_their_rate_and_are_the_same_again():
    due = list(arrivals(500, 20))
    assert due == list(arrivals(500, 20))
    assert due == sorted(due)
    assert due[-1] < 20
    assert len(due) == pytest.approx(500 * 20, rel=0.05)


async def test_an_alarm_is_never_early_and_never_late_for_what_is_past():
    with Alarm() as alarm:
        for wait in (0.0003, 0.002, -1.0):
            due = time.monotonic() + wait
            await alarm.wait_until(due)
            assert time.monotonic() >= due


async def test_saturation_counts_answers_and_nothing_else():
    async with serving(mock()) as url:
        result = await Load(Target.post(url + CHAT, b"{}", {})).saturate(4, 0.2)
    assert result.failures == {}
    assert result.rate == pytest.approx(len(result.latencies) / result.seconds)
    assert len(result.latencies) > 10


async def test_every_chunk_of_a_stream_is_counted_however_it_is_cut():
    async with serving(mock(chunks=50, interval_ms=0, burst=7)) as url:
        result = await Load(Target.post(url + CHAT, b'{"stream": true}', {})).at_rate(100, 0.2)
    assert result.failures == {}
    assert result.chunks == 50 * len(result.latencies)
    assert len(result.firsts) == len(result.latencies)
    assert min(result.delays) > 0


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50])
def test_stamps_are_found_wherever_the_body_is_cut(size: int):
    result = Result()
    asking = Connection(iter(()), lambda _: None)
    asking._result, asking._read_at = result, 1.0
    body = b'data: {"content":"@123456@"}\n\ndata: {"content":"@123457@"}\n\ndata: [DONE]\n\n'
    for start in range(0, len(body), size):
        asking.on_body(body[start : start + size])
    assert result.chunks == 2
    assert len(result.firsts) == 1


async def test_who_answers_nothing_is_told_of_every_request_that_was_due():
    """No coordinated omission: a silent server does not slow the schedule down."""

    class Silent(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            asyncio.get_running_loop().call_later(1.0, transport.close)

    async with serving(Silent) as url:
        result = await Load(Target.post(url + CHAT, b"{}", {})).at_rate(100, 0.5, connections=1)
    assert result.latencies == []
    assert result.failures == {"lost": len(list(arrivals(100, 0.5)))}


async def test_streams_begun_at_random_count_once_enough_are_open():
    async with serving(mock(chunks=5, interval_ms=20)) as url:
        asked = Load(Target.post(url + CHAT, b'{"stream": true}', {}))
        result = await asked.among_streams(10, 0.1, 0.4)
    assert result.failures == {}
    assert len(result.firsts) == len(list(arrivals(100, 0.4, seed=2)))
    assert result.seconds == pytest.approx(0.4, abs=0.1)


async def test_a_stream_that_does_not_begin_keeps_nobody_from_being_due(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(load, "_PATIENCE_S", 0.1)
    async with serving(asyncio.Protocol) as url:
        asked = Load(Target.post(url + CHAT, b'{"stream": true}', {}))
        result = await asked.among_streams(10, 0.1, 0.3)
    assert result.firsts == []
    assert result.failures == {"no first chunk": len(list(arrivals(100, 0.3, seed=2)))}


async def test_a_request_that_waits_counts_from_when_it_was_due():
    async with serving(mock(delay_ms=50)) as url:
        result = await Load(Target.post(url + CHAT, b"{}", {})).at_rate(100, 0.3, connections=1)
    assert result.failures == {}
    assert min(result.latencies) >= 0.045


async def test_other_answers_are_failures_by_their_status():
    async with serving(mock()) as url:
        result = await Load(Target.get(url + "/none")).at_rate(50, 0.2)
    assert set(result.failures) == {"404"}
    assert result.latencies == []


def test_an_error_in_a_stream_is_a_failure():
    result = Result()
    asking = Connection(iter(()), lambda _: None)
    asking._result = result
    asking.on_body(b'data: {"content":"@123456@"}\n\ndata: {"error":{"message":"cut"}}\n\n')
    assert result.chunks == 1
    assert result.failures == {"in-band": 1}


async def test_requests_are_sent_in_turn():
    asked: list[bytes] = []

    class Listening(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = cast("asyncio.Transport", transport)

        def data_received(self, data: bytes) -> None:
            asked.append(data.rpartition(b"\r\n\r\n")[2])
            self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    async with serving(Listening) as url:
        target = Target.posts(url + CHAT, [(b"one", {}), (b"two", {})])
        await Load(target).at_rate(100, 0.3, connections=1)
    assert asked[:4] == [b"one", b"two", b"one", b"two"]
