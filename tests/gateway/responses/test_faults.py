"""Every fault of an upstream, and of ours, has one outcome: an error, or a response that failed."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import asyncpg
import msgspec
import pytest
from faulty_support import Faulty, Line, play_faulty
from openai_schema import faults
from responses_support import check_stream, events_of
from support import scope_of

from config.tasks import end_task
from gateway.errors import UpstreamError, UpstreamInterrupted, UpstreamTimeout
from gateway.openai.responses import Event
from gateway.responses.live import LiveResponse
from gateway.responses.run import Responder
from gateway.responses.store import ResponseStore
from gateway.responses.turn import read_turn
from gateway.routes.responses import EventFrames

CALLER = scope_of("acme", "app")
BODY = {"model": "fake/gpt-x", "input": "?", "stream": True}
TEXT = ["연차 ", "휴가는 ", "15일 🙂"]


def _event(choices: list[object], **more: object) -> bytes:
    return b"data: " + msgspec.json.encode({"choices": choices, **more}) + b"\n\n"


ROLE = _event([{"index": 0, "delta": {"role": "assistant", "content": ""}}])
SAYS = [_event([{"index": 0, "delta": {"content": text}}]) for text in TEXT]
STOP = _event([{"index": 0, "delta": {}, "finish_reason": "stop"}])
USAGE = _event([], usage={"prompt_tokens": 5, "completion_tokens": 4, "total_tokens": 9})
DONE = b"data: [DONE]\n\n"
EVENTS = [ROLE, *SAYS, STOP, USAGE, DONE]

Made = tuple[Responder, ResponseStore]
NewResponder = Callable[..., Made]


@pytest.fixture
async def faulty() -> AsyncIterator[Faulty]:
    async with play_faulty() as playing:
        yield playing


@pytest.fixture
async def made(new_responder: NewResponder, faulty: Faulty) -> Made:
    return new_responder(faulty.url)


async def ask(made: Made, **more: Any) -> tuple[list[Event], dict[str, Any]]:
    """Return the events, and the response as it is stored."""
    responder, store = made
    live = await responder.stream(CALLER, read_turn(BODY | more, local_only=False))
    events = [event async for event in live.events]
    stored = await store.find(CALLER, events[0]["response"]["id"])
    return events, json.loads(stored.body)


def text_of(response: dict[str, Any]) -> str:
    return "".join(item["content"][0]["text"] for item in response["output"])


async def test_the_whole_answer(made: Made, faulty: Faulty) -> None:
    faulty.says(b"".join(EVENTS))
    events, stored = await ask(made)
    assert check_stream(events) == stored
    assert text_of(stored) == "".join(TEXT)
    assert stored["usage"]["total_tokens"] == 9


@pytest.mark.parametrize("at", range(len(EVENTS)))
async def test_a_reset_at_every_boundary(
    made: Made, faulty: Faulty, at: int, owner: asyncpg.Connection
) -> None:
    received = asyncio.Event()

    async def play(line: Line) -> None:
        await line.head()
        await line.send(*EVENTS[:at])
        if at > 1:
            await received.wait()
        line.reset()

    faulty.play = play
    responder, store = made
    opening = responder.stream(CALLER, read_turn(BODY, local_only=False))
    if at <= 1:
        with pytest.raises(UpstreamInterrupted):
            await opening
        assert await owner.fetchval("SELECT count(*) FROM responses") == 0
        return
    events = []
    live = await opening
    async for event in live.events:
        events.append(event)
        if event["type"].endswith(".delta"):
            received.set()
    response = check_stream(events)
    assert response["status"] == "failed"
    assert "".join(TEXT).startswith(text_of(response))
    assert response["output"][0]["status"] == "incomplete"
    assert response["usage"]["output_tokens"] > 0
    stored = await store.find(CALLER, response["id"])
    assert json.loads(stored.body) == response


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
async def test_one_byte_per_packet(made: Made, faulty: Faulty, line_end: bytes) -> None:
    wire = b"".join(EVENTS).replace(b"\n", line_end)
    faulty.says(wire, range(1, len(wire)))
    events, _ = await ask(made)
    assert text_of(check_stream(events)) == "".join(TEXT)


@pytest.mark.parametrize("end", [STOP + DONE + DONE, STOP, STOP + DONE + b"data: <html>\n\n"])
async def test_a_missing_or_a_doubled_done(made: Made, faulty: Faulty, end: bytes) -> None:
    faulty.says(ROLE + SAYS[0] + end)
    events, stored = await ask(made)
    assert check_stream(events)["status"] == "completed"
    assert stored["usage"]["output_tokens"] > 0


@pytest.mark.parametrize("body", [b"<html><h1>Oops</h1>", b"", b"{}", b"[1]"])
async def test_html_with_status_200(made: Made, faulty: Faulty, body: bytes) -> None:
    faulty.answers("200 OK", body, kind="text/html")
    turn = read_turn(BODY, local_only=False)
    with pytest.raises(UpstreamError):
        await made[0].stream(CALLER, turn)
    with pytest.raises(UpstreamError):
        await made[0].answer(CALLER, turn)


async def test_a_line_of_10_mb_is_a_failure(made: Made, faulty: Faulty) -> None:
    async def play(line: Line) -> None:
        await line.head()
        await line.send(ROLE, SAYS[0])
        await line.send(*[b"data: " + b"x" * 100_000] * 100)

    faulty.play = play
    events, _ = await ask(made)
    assert check_stream(events)["status"] == "failed"


async def test_hangs_and_stalls_end(new_responder: NewResponder, faulty: Faulty) -> None:
    async def hang(line: Line, parts: Sequence[bytes]) -> None:
        await line.head()
        await line.send(*parts)
        await asyncio.Event().wait()

    hasty = new_responder(faulty.url, first_byte_timeout_s=0.2, idle_timeout_s=0.2)
    faulty.play = lambda line: hang(line, [ROLE])
    with pytest.raises(UpstreamTimeout):
        await ask(hasty)
    faulty.play = lambda line: hang(line, [ROLE, SAYS[0]])
    events, _ = await ask(hasty)
    response = check_stream(events)
    assert "did not answer in time" in response["error"]["message"]


async def test_a_call_that_broke_off_is_not_part_of_a_conversation(
    made: Made, faulty: Faulty, pool: asyncpg.Pool
) -> None:
    function = {"name": "f", "arguments": '{"a'}
    call = {"index": 0, "id": "c", "type": "function", "function": function}
    faulty.says(ROLE + SAYS[0] + _event([{"index": 0, "delta": {"tool_calls": [call]}}]))
    conversations = made[0]._conversations
    conversation = (await conversations.create(CALLER, {}, [])).id
    events, _ = await ask(made, conversation=conversation)
    assert len(check_stream(events)["output"]) == 2
    items = await conversations.page(CALLER, conversation, limit=10)
    assert [item.role for item in items] == ["user", "assistant"]  # type: ignore[union-attr]


async def _serve(live: LiveResponse) -> tuple["asyncio.Task[None]", list[bytes]]:
    """Answer a request that stays open; return what answers it, and what it has sent."""
    sent: list[bytes] = []

    async def send(message: Any) -> None:
        sent.append(message.get("body", b""))

    async def receive() -> Any:
        await asyncio.Event().wait()

    answer = EventFrames(live.events).stream()
    return asyncio.create_task(answer({}, receive, send)), sent  # type: ignore[typeddict-item, arg-type]


def _last(sent: list[bytes], first: int = 0) -> dict[str, Any]:
    *events, error = events_of(b"".join(sent).decode())
    assert not faults(error, "ResponseStreamEvent")
    assert error["type"] == "error"
    assert error["sequence_number"] == first + len(events)
    return error


async def test_a_store_that_is_away_at_the_end_is_told(
    made: Made, faulty: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise ConnectionError

    responder, store = made
    faulty.says(b"".join(EVENTS))
    live = await responder.stream(CALLER, read_turn(BODY, local_only=False))
    monkeypatch.setattr(store, "insert", away)
    serving, sent = await _serve(live)
    await serving
    assert _last(sent)["code"] == "store_unavailable"


async def test_a_server_that_ends_says_so(made: Made, faulty: Faulty) -> None:
    async def hang(line: Line) -> None:
        await line.head()
        await line.send(ROLE, SAYS[0])
        await asyncio.Event().wait()

    faulty.play = hang
    live = await made[0].stream(CALLER, read_turn(BODY, local_only=False))
    serving, sent = await _serve(live)
    async with asyncio.timeout(5):
        while not any(b".delta" in frame for frame in sent):
            await asyncio.sleep(0.01)
    await end_task(serving)
    assert _last(sent)["code"] == "server_shutdown"
    stored = await made[1].find(CALLER, live.draft.response.id)
    assert stored.status == "cancelled"
