"""Turns of one conversation: one at a time, each with all before it, and none of them is lost."""

import asyncio
import gc
import json
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import pytest
from aiohttp import web
from responses_support import check_stream
from support import scope_of
from upstream_support import COMPLETION, DONE, HI, ROLE, STOP, Upstream, json_answer

from config.settings import SessionSettings
from gateway.errors import Conflict, GatewayError, NotFound, Overloaded
from gateway.openai.response_items import Item, Message
from gateway.openai.responses import Event
from gateway.responses.live import LiveResponse
from gateway.responses.run import Responder
from gateway.responses.store import ResponseStore
from gateway.responses.turn import Turn, read_turn
from gateway.sessions.conversations import Conversations

CALLER = scope_of("acme", "app")

NewResponder = Callable[..., tuple[Responder, ResponseStore]]


@pytest.fixture
async def responder(new_responder: NewResponder, upstream: Upstream) -> Responder:
    return new_responder(upstream.url)[0]


@pytest.fixture
async def conversation(responder: Responder) -> str:
    return (await responder._conversations.create(CALLER, {}, [])).id


def asking(conversation: str, text: str, **more: Any) -> Turn:
    body = {"model": "fake/gpt-x", "input": text, "conversation": conversation, **more}
    return read_turn(body, local_only=False)


class Gate:
    """An upstream that says `hi`, and the end once it is let go on."""

    def __init__(self, upstream: Upstream) -> None:
        self.opened = asyncio.Event()
        self._upstream = upstream
        upstream.answer = self._answer

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if not self._upstream.asked[-1].get("stream"):
            await self.opened.wait()
            return await json_answer(COMPLETION)
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        await response.write(ROLE + HI)
        await self.opened.wait()
        await response.write(STOP + DONE)
        return response


async def waits(responder: Responder, turns: int = 1) -> None:
    """Return when so many turns wait for their conversation."""
    query = "SELECT count(*) FROM turns WHERE state = 'waiting'"
    async with asyncio.timeout(10):
        while await _count(responder, query) != turns:
            await asyncio.sleep(0.01)


async def _count(responder: Responder, query: str) -> int:
    async with responder._store.pool.acquire() as con, con.transaction():
        await con.execute("SELECT set_config('naru.tenant', $1, true)", CALLER.tenant)
        return int(await con.fetchval(query))


async def until_said(live: LiveResponse) -> list[Event]:
    events = []
    async for event in live.events:
        events.append(event)
        if event["type"] == "response.output_text.delta":
            break
    return events


async def texts_of(conversations: Conversations, conversation: str) -> list[str]:
    items = await conversations.page(CALLER, conversation, limit=100)
    return [_text(item) for item in items]


def _text(item: Item) -> str:
    assert isinstance(item, Message)
    return item.text


def asked_of(upstream: Upstream, number: int) -> list[str]:
    messages: Any = upstream.asked[number]["messages"]
    return [message["content"] for message in messages]


async def test_a_turn_waits_for_the_one_before_and_reads_it(
    responder: Responder, upstream: Upstream, conversation: str
) -> None:
    gate = Gate(upstream)
    live = await responder.stream(CALLER, asking(conversation, "first", stream=True))
    events = await until_said(live)
    whole = asyncio.create_task(responder.answer(CALLER, asking(conversation, "second")))
    await waits(responder)
    streamed = asyncio.create_task(
        responder.stream(CALLER, asking(conversation, "third", stream=True, store=False))
    )
    await waits(responder, 2)
    assert len(upstream.asked) == 1
    gate.opened.set()
    events += [event async for event in live.events]
    assert check_stream(events)["status"] == "completed"
    await whole
    async with aclosing((await streamed).events) as rest:
        assert [event async for event in rest][-1]["type"] == "response.completed"
    assert asked_of(upstream, 1) == ["first", "hi", "second"]
    said = ["first", "hi", "second", "hi", "third", "hi"]
    assert asked_of(upstream, 2) == said[:5]
    assert await texts_of(responder._conversations, conversation) == said
    assert await _count(responder, "SELECT count(*) FROM turns") == 0


async def test_what_its_caller_broke_off_is_read_by_the_next_turn(
    responder: Responder, upstream: Upstream, conversation: str
) -> None:
    gate = Gate(upstream)
    live = await responder.stream(CALLER, asking(conversation, "first", stream=True))
    await until_said(live)
    following = asyncio.create_task(responder.answer(CALLER, asking(conversation, "second")))
    await waits(responder)
    gate.opened.set()
    await live.events.aclose()
    await following
    assert asked_of(upstream, 1) == ["first", "hi", "second"]


async def test_a_stream_that_nobody_reads_lets_its_conversation_go(
    responder: Responder, upstream: Upstream, conversation: str
) -> None:
    gate = Gate(upstream)
    await responder.stream(CALLER, asking(conversation, "first", stream=True))
    gc.collect()
    gate.opened.set()
    await responder.answer(CALLER, asking(conversation, "second"))
    assert asked_of(upstream, 1)[-1] == "second"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_caller_that_leaves_while_it_waits_makes_way(
    responder: Responder, upstream: Upstream, conversation: str, stream: bool
) -> None:
    gate = Gate(upstream)
    first = asyncio.create_task(responder.answer(CALLER, asking(conversation, "first")))
    async with asyncio.timeout(10):
        while not upstream.asked:
            await asyncio.sleep(0.01)
    begin = responder.stream if stream else responder.answer
    leaving = asyncio.create_task(begin(CALLER, asking(conversation, "second")))
    await waits(responder)
    leaving.cancel()
    await waits(responder, 0)
    gate.opened.set()
    await first
    await responder.answer(CALLER, asking(conversation, "third"))
    assert asked_of(upstream, 1) == ["first", "hi", "third"]


async def test_a_fault_before_the_first_content_lets_the_conversation_go(
    responder: Responder, upstream: Upstream, conversation: str
) -> None:
    upstream.answer = lambda _: json_answer(b"{}", 400)
    for begin in (responder.answer, responder.stream):
        with pytest.raises(GatewayError):
            await begin(CALLER, asking(conversation, "?"))
    assert await _count(responder, "SELECT count(*) FROM turns") == 0


async def test_a_whole_answer_whose_conversation_was_deleted_is_a_conflict(
    responder: Responder, upstream: Upstream, conversation: str
) -> None:
    gate = Gate(upstream)
    answering = asyncio.create_task(responder.answer(CALLER, asking(conversation, "?")))
    async with asyncio.timeout(10):
        while not upstream.asked:
            await asyncio.sleep(0.01)
    await responder._conversations.delete(CALLER, conversation)
    gate.opened.set()
    with pytest.raises(Conflict) as caught:
        await answering
    assert caught.value.code == "turn_lost"
    assert await _count(responder, "SELECT count(*) FROM responses") == 0


@pytest.mark.parametrize("waiting", [False, True])
async def test_a_stream_whose_conversation_was_deleted_fails(
    responder: Responder, upstream: Upstream, conversation: str, waiting: bool
) -> None:
    gate = Gate(upstream)
    live = await responder.stream(CALLER, asking(conversation, "first", stream=True))
    events = await until_said(live)
    if waiting:
        second = asyncio.create_task(responder.stream(CALLER, asking(conversation, "second")))
        await waits(responder)
    await responder._conversations.delete(CALLER, conversation)
    if waiting:
        with pytest.raises(Conflict):
            await second
    gate.opened.set()
    events += [event async for event in live.events]
    response = check_stream(events)
    assert (response["status"], "deleted" in response["error"]["message"]) == ("failed", True)
    stored = await responder._store.find(CALLER, response["id"])
    assert json.loads(stored.body) == response
    kept = [event async for event in _stored_events(responder, response["id"])]
    assert kept == events
    with pytest.raises(NotFound):
        await responder._conversations.find(CALLER, conversation)


async def _stored_events(responder: Responder, response_id: str) -> Any:
    for event in (await responder._store.read_events(CALLER, response_id, -1))[1]:
        yield event


async def test_a_conversation_that_does_not_exist_is_not_waited_for(responder: Responder) -> None:
    with pytest.raises(NotFound) as caught:
        await responder.answer(CALLER, asking("conv_0", "?"))
    assert caught.value.param == "conversation"


async def test_no_more_wait_than_the_bounds_allow(
    responder: Responder, upstream: Upstream, conversation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(upstream)
    hasty = SessionSettings(queue_timeout_s=0.05)
    monkeypatch.setattr(responder._queue, "_settings", hasty)
    live = await responder.stream(CALLER, asking(conversation, "first"))
    with pytest.raises(Overloaded) as caught:
        await responder.answer(CALLER, asking(conversation, "second"))
    assert caught.value.code == "session_busy"
    gate.opened.set()
    await live.events.aclose()
