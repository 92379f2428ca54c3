"""Reading an upstream's events however they are split; writing ours whole."""

import asyncio
import itertools
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import sse
from gateway.errors import UpstreamInterrupted


async def _parts(pieces: list[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def _events(pieces: list[bytes]) -> list[bytes]:
    return [event async for event in sse.read_events(_parts(pieces))]


WIRE = 'data: {"a":"가"}\n\n: ping\n\nevent: x\ndata: one\ndata: two\n\ndata:bare\n\n'.encode()
EVENTS = ['{"a":"가"}'.encode(), b"one\ntwo", b"bare"]


@given(st.lists(st.integers(0, len(WIRE)), max_size=8), st.sampled_from(["\n", "\r\n", "\r"]))
def test_any_split_and_line_end_reads_the_same(cuts: list[int], line_end: str) -> None:
    wire = WIRE.replace(b"\n", line_end.encode())
    edges = [0, *sorted(cuts), len(wire)]
    pieces = [wire[a:b] for a, b in itertools.pairwise(edges)]
    assert asyncio.run(_events(pieces)) == EVENTS


@pytest.mark.parametrize(
    ("wire", "events"),
    [
        (b"data: end\n", [b"end"]),
        (b"data: whole\n\ndata: cut of", [b"whole"]),
        (b"\xef\xbb\xbfdata: after a BOM\n\n", [b"after a BOM"]),
        (b"data:\n\ndata: \n\ndata: x\n\n", [b"x"]),
        (b"\r\r\ndata: x\r\rdata: y\r\n\r\n", [b"x", b"y"]),
    ],
)
async def test_ends_and_beginnings(wire: bytes, events: list[bytes]) -> None:
    assert await _events([wire]) == events
    assert await _events([wire[i : i + 1] for i in range(len(wire))]) == events


async def test_an_event_is_there_with_its_last_byte() -> None:
    """A CR that may be half of a CRLF is not waited for."""
    pieces: asyncio.Queue[bytes] = asyncio.Queue()

    async def parts() -> AsyncIterator[bytes]:
        while True:
            yield await pieces.get()

    events = sse.read_events(parts())
    pieces.put_nowait(b"data: x\r\r")
    async with asyncio.timeout(5):
        assert await anext(events) == b"x"
    await events.aclose()


async def test_an_endless_line_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "_MAX_EVENT_BYTES", 100)
    with pytest.raises(ValueError, match="too long"):
        await _events([b"data: " + b"x" * 60, b"x" * 60])
    with pytest.raises(ValueError, match="too long"):
        await _events([b"data: " + b"x" * 40 + b"\n"] * 3)


class _Client:
    """An ASGI client: collects what is sent; leaves when told."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.left = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    async def run(self, stream: sse.EventStream) -> bytes:
        await stream({}, self.receive, self.send)  # type: ignore[arg-type]
        return b"".join(message.get("body", b"") for message in self.sent)


async def test_done_closes_a_whole_stream() -> None:
    async def frames() -> AsyncGenerator[bytes, None]:
        yield sse.data(b"{}")

    client = _Client()
    assert await client.run(sse.EventStream(frames())) == b"data: {}\n\ndata: [DONE]\n\n"
    headers = dict(client.sent[0]["headers"])
    assert headers[b"content-type"] == b"text/event-stream; charset=utf-8"
    assert headers[b"cache-control"] == b"no-cache"
    assert headers[b"x-accel-buffering"] == b"no"
    assert client.sent[-1]["more_body"] is False


async def test_an_error_goes_in_band_and_there_is_no_done() -> None:
    async def frames() -> AsyncGenerator[bytes, None]:
        yield sse.data(b"{}")
        raise UpstreamInterrupted("it broke off", code="upstream_interrupted")

    body = await _Client().run(sse.EventStream(frames()))
    assert b'data: {"error":{"message":"it broke off","type":"upstream_error"' in body
    assert b"[DONE]" not in body


async def test_the_generator_is_closed_when_the_client_leaves() -> None:
    client, closed = _Client(), asyncio.Event()

    async def frames() -> AsyncGenerator[bytes, None]:
        try:
            yield sse.data(b"{}")
            client.left.set()
            await asyncio.Event().wait()
        finally:
            closed.set()

    async with asyncio.timeout(5):
        await client.run(sse.EventStream(frames()))
    assert closed.is_set()


async def test_a_stream_that_the_server_ends_says_so() -> None:
    client, closed = _Client(), asyncio.Event()

    async def frames() -> AsyncGenerator[bytes, None]:
        try:
            yield sse.data(b"{}")
            serving.cancel()
            await asyncio.Event().wait()
        finally:
            closed.set()

    serving = asyncio.create_task(client.run(sse.EventStream(frames())))
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert closed.is_set()
    assert b'"code":"server_shutdown"' in client.sent[-1]["body"]
    assert client.sent[-1]["more_body"] is False
    assert not any(b"[DONE]" in message.get("body", b"") for message in client.sent)


async def test_silence_is_filled_with_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "KEEP_ALIVE_S", 0.01)
    client = _Client()

    async def frames() -> AsyncGenerator[bytes, None]:
        while not any(b": keep-alive" in m.get("body", b"") for m in client.sent):
            await asyncio.sleep(0)
        yield sse.data(b"{}")

    async with asyncio.timeout(5):
        body = await client.run(sse.EventStream(frames()))
    assert body.endswith(b"data: {}\n\ndata: [DONE]\n\n")


async def test_after_the_end_there_is_no_comment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "KEEP_ALIVE_S", 0.0)
    client = _Client()

    async def frames() -> AsyncGenerator[bytes, None]:
        for _ in range(20):
            await asyncio.sleep(0)
            yield sse.data(b"{}")

    async with asyncio.timeout(30):
        body = await client.run(sse.EventStream(frames()))
        for _ in range(20):
            await asyncio.sleep(0)
    assert b": keep-alive" in body
    assert [message["more_body"] for message in client.sent[1:]].index(False) == len(
        client.sent
    ) - 2
