"""Every fault of an upstream has one outcome: another target, an error, or the whole answer."""

import asyncio
import resource
from collections.abc import AsyncIterator

import msgspec
import pytest
from faulty_support import Faulty, Line, play_faulty
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.targets import ProviderSettings
from gateway.errors import (
    GatewayError,
    Overloaded,
    Unavailable,
    UpstreamError,
    UpstreamInterrupted,
    UpstreamTimeout,
)
from gateway.generation import ladder as ladder_module
from gateway.generation.hosted import Hosted
from gateway.generation.http1 import HttpClient
from gateway.generation.ladder import Ladder
from gateway.generation.target import Completion, Prompt, Stream, view_chunk

PROMPT = Prompt({"messages": [{"role": "user", "content": "hello"}]}, include_usage=True)
TEXT = "연차 휴가는 15일 🙂"


def _event(choices: list[object], **more: object) -> bytes:
    chunk = {"id": "c", "created": 1, "model": "m", "choices": choices, **more}
    return b"data: " + msgspec.json.encode(chunk) + b"\n\n"


def _says(text: str) -> bytes:
    return _event([{"index": 0, "delta": {"content": text}, "finish_reason": None}])


ROLE = _event([{"index": 0, "delta": {"role": "assistant", "content": ""}}])
SAYS = [_says(word) for word in TEXT.split(" ")]
STOP = _event([{"index": 0, "delta": {}, "finish_reason": "stop"}])
USAGE = _event([], usage={"prompt_tokens": 5, "completion_tokens": 4, "total_tokens": 9})
DONE = b"data: [DONE]\n\n"
EVENTS = [ROLE, *SAYS, STOP, USAGE, DONE]
WIRE = b"".join(EVENTS)
WHOLE = "".join(TEXT.split(" "))


@pytest.fixture
async def upstream() -> AsyncIterator[Faulty]:
    async with play_faulty() as playing:
        yield playing


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    async with HttpClient() as session:
        yield session


@pytest.fixture(autouse=True)
def _no_back_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ladder_module, "_BACK_OFF_S", (0.0, 0.0))


@pytest.fixture
def target(http: HttpClient, upstream: Faulty) -> Hosted:
    return _target(http, upstream)


def _target(http: HttpClient, upstream: Faulty, **more: object) -> Hosted:
    values = {"base_url": upstream.url, "idle_timeout_s": 5, "first_byte_timeout_s": 5, **more}
    return Hosted(http, "p", ProviderSettings.model_validate(values), "m")


class _Spare:
    """The rung below."""

    name, place, accepts_unknown, context = "spare", "here", True, None

    def first_token_s(self, prompt: Prompt) -> float:
        return 0.0

    async def complete(self, prompt: Prompt) -> Completion:
        return Completion(b"{}", self.name)

    async def stream(self, prompt: Prompt) -> Stream:
        raise AssertionError


async def _told(target: Hosted) -> tuple[str, GatewayError | None, Stream | None]:
    """Return what the client is told: the text, and the error that ended it."""
    text, stream = "", None
    try:
        stream = await target.stream(PROMPT)
        async for payload in stream.payloads:
            text += view_chunk(payload).content
    except GatewayError as error:
        return text, error, stream
    return text, None, stream


async def _chunks(target: Hosted) -> list[bytes]:
    stream = await target.stream(PROMPT)
    return [payload async for payload in stream.payloads]


async def test_the_whole_answer(target: Hosted, upstream: Faulty) -> None:
    upstream.says(WIRE)
    text, error, stream = await _told(target)
    assert (text, error) == (WHOLE, None)
    assert stream is not None
    usage = stream.usage
    assert (usage.completion_tokens, usage.complete, usage.estimated) == (4, True, False)


@pytest.mark.parametrize("at", range(len(EVENTS)))
async def test_a_reset_at_every_boundary(target: Hosted, upstream: Faulty, at: int) -> None:
    received = asyncio.Event()

    async def play(line: Line) -> None:
        await line.head()
        await line.send(*EVENTS[:at])
        if at > 1:
            await received.wait()
        line.reset()

    upstream.play = play
    if at <= 1:
        # No content yet: nothing was said, another target may answer.
        with pytest.raises(UpstreamInterrupted):
            await target.stream(PROMPT)
        return
    stream = await target.stream(PROMPT)
    text = ""

    async def read() -> None:
        nonlocal text
        async for payload in stream.payloads:
            text += view_chunk(payload).content
            received.set()

    with pytest.raises(UpstreamInterrupted):
        await read()
    assert WHOLE.startswith(text)
    assert not stream.usage.complete


@pytest.mark.parametrize("cut", range(1, len(SAYS[0]) - 1))
async def test_a_reset_inside_an_event_is_never_half_an_event(
    target: Hosted, upstream: Faulty, cut: int
) -> None:
    """Inside UTF-8 sequences too: the connection breaks, or ends in good order."""
    upstream.says(ROLE + SAYS[1] + SAYS[0][:cut], end=bool(cut % 2))
    text, error, stream = await _told(target)
    assert text == TEXT.split(" ")[1]
    assert isinstance(error, UpstreamInterrupted)
    assert stream is not None
    assert stream.usage.estimated
    assert not stream.usage.complete


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
async def test_one_byte_per_packet(target: Hosted, upstream: Faulty, line_end: bytes) -> None:
    upstream.says(WIRE)
    expected = await _chunks(target)
    wire = WIRE.replace(b"\n", line_end)
    upstream.says(wire, range(1, len(wire)))
    assert await _chunks(target) == expected


@pytest.mark.parametrize("end", [STOP + DONE + DONE, STOP, STOP + DONE + b"data: <html>\n\n"])
async def test_a_missing_or_a_doubled_done(target: Hosted, upstream: Faulty, end: bytes) -> None:
    upstream.says(ROLE + SAYS[0] + end)
    text, error, stream = await _told(target)
    assert (text, error) == (TEXT.split(" ", maxsplit=1)[0], None)
    assert stream is not None
    assert (stream.usage.complete, stream.usage.estimated) == (True, True)


async def test_missing_usage_is_estimated_and_told_once(target: Hosted, upstream: Faulty) -> None:
    upstream.says(ROLE + SAYS[0] + STOP + DONE)
    *others, last = [msgspec.json.decode(chunk) for chunk in await _chunks(target)]
    assert [chunk["usage"] for chunk in others] == [None, None, None]
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] > 0


async def test_half_a_stream_then_a_clean_close(target: Hosted, upstream: Faulty) -> None:
    upstream.says(ROLE + SAYS[0])
    text, error, _ = await _told(target)
    assert text == TEXT.split(" ", maxsplit=1)[0]
    assert isinstance(error, UpstreamInterrupted)


@pytest.mark.parametrize("body", [b"<html><h1>Oops</h1>", b"", b"{}", b"[1]", b"data: x\n\n"])
@pytest.mark.parametrize("kind", ["text/html", "application/json", "text/event-stream"])
async def test_html_with_status_200(
    target: Hosted, upstream: Faulty, body: bytes, kind: str
) -> None:
    upstream.answers("200 OK", body, kind=kind)
    with pytest.raises(UpstreamError):
        await target.complete(PROMPT)
    with pytest.raises(UpstreamError):
        await target.stream(PROMPT)
    assert (await Ladder("x", [target, _Spare()]).complete(PROMPT)).target == "spare"


async def test_a_line_of_10_mb_is_an_error_and_costs_little(
    target: Hosted, upstream: Faulty
) -> None:
    async def play(line: Line) -> None:
        await line.head()
        await line.send(ROLE, SAYS[0])
        await line.send(*[b"data: " + b"x" * 100_000] * 100)

    upstream.play = play
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    text, error, _ = await _told(target)
    assert text == TEXT.split(" ", maxsplit=1)[0]
    assert isinstance(error, UpstreamError)
    assert error.code == "upstream_invalid_answer"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40_000  # kB


async def test_a_flood_waits_for_a_slow_reader(target: Hosted, upstream: Faulty) -> None:
    sent = 0

    async def play(line: Line) -> None:
        nonlocal sent
        await line.head()
        while sent < 200_000_000:
            await line.send(_says("x" * 10_000))
            sent += 10_000

    upstream.play = play
    stream = await target.stream(PROMPT)
    level = -1
    while level != sent:  # until the pipes are full
        level = sent
        await asyncio.sleep(0.2)
    assert sent < 30_000_000
    await stream.payloads.aclose()


async def _hang(line: Line, *parts: bytes, head: bool = True) -> None:
    if head:
        await line.head()
    await line.send(*parts)
    await asyncio.Event().wait()


async def test_hangs_and_stalls_end(http: HttpClient, upstream: Faulty) -> None:
    hasty = _target(http, upstream, first_byte_timeout_s=0.1, idle_timeout_s=0.1)
    hasty_whole = _target(http, upstream, total_timeout_s=0.1)
    upstream.play = lambda line: _hang(line, head=False)
    for ask in (hasty.stream, hasty_whole.complete):
        with pytest.raises(UpstreamTimeout):
            await ask(PROMPT)
    upstream.play = lambda line: _hang(line, ROLE)
    with pytest.raises(UpstreamTimeout):
        await hasty.stream(PROMPT)
    upstream.play = lambda line: _hang(line, ROLE, SAYS[0])
    text, error, stream = await _told(hasty)
    assert (text, type(error)) == (TEXT.split(" ", maxsplit=1)[0], UpstreamTimeout)
    assert stream is not None


async def test_comments_do_not_hide_a_stall(http: HttpClient, upstream: Faulty) -> None:
    async def play(line: Line) -> None:
        await line.head()
        await line.send(ROLE, SAYS[0])
        while True:
            await line.send(b": still here\n\n")
            await asyncio.sleep(0.02)

    upstream.play = play
    _, error, _ = await _told(_target(http, upstream, idle_timeout_s=0.2))
    assert isinstance(error, UpstreamTimeout)


async def test_a_storm_of_429_with_retry_after_is_waited_out(
    target: Hosted, upstream: Faulty
) -> None:
    upstream.answers("429 Too Many Requests", b"{}", "retry-after: 30")
    ladder = Ladder("x", [target, _Spare()])
    answers = [await ladder.complete(PROMPT) for _ in range(20)]
    assert {answer.target for answer in answers} == {"spare"}
    assert upstream.asked == 1
    assert answers[0].reason == "p/m: upstream_rate_limit"
    assert answers[1].reason == "p/m: target_rests"
    with pytest.raises(Unavailable) as caught:
        await Ladder("y", [target]).complete(PROMPT)
    assert 25 <= int(caught.value.headers["retry-after"]) <= 30


@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable"])
async def test_a_storm_without_retry_after_opens_the_breaker(
    target: Hosted, upstream: Faulty, status: str
) -> None:
    upstream.answers(status, b"{}")
    ladder = Ladder("x", [target, _Spare()])
    for _ in range(50):
        assert (await ladder.complete(PROMPT)).target == "spare"
    assert upstream.asked == 5


async def test_alone_in_a_storm_the_callers_are_told(target: Hosted, upstream: Faulty) -> None:
    upstream.answers("503 Service Unavailable", b"{}")
    kinds = set()
    for _ in range(30):
        with pytest.raises((UpstreamError, Overloaded, Unavailable)) as caught:
            await Ladder("x", [target]).complete(PROMPT)
        kinds.add(caught.value.code)
    assert kinds == {"upstream_status_503", "target_rests"}
    assert upstream.asked <= 6


async def test_any_split_of_the_bytes_is_the_same_stream() -> None:
    async with play_faulty() as upstream, HttpClient() as http:
        target = _target(http, upstream)
        upstream.says(WIRE)
        expected = await _chunks(target)
        loop = asyncio.get_running_loop()

        @settings(
            max_examples=60,
            deadline=None,
            suppress_health_check=[HealthCheck.function_scoped_fixture],
        )
        @given(
            st.lists(st.integers(0, len(WIRE)), max_size=12),
            st.sampled_from([b"\n", b"\r\n", b"\r"]),
            st.booleans(),
        )
        def check(cuts: list[int], line_end: bytes, mark: bool) -> None:
            wire = (b"\xef\xbb\xbf" if mark else b"") + WIRE.replace(b"\n", line_end)
            upstream.says(wire, cuts)
            found = asyncio.run_coroutine_threadsafe(_chunks(target), loop).result(10)
            assert found == expected

        await asyncio.to_thread(check)
