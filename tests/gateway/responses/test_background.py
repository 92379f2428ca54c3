"""A response of the background outlives the process that took it up, or says that it did not."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from aiohttp import web
from support import scope_of
from upstream_support import DONE, HI, ROLE, STOP, Upstream

from config.tasks import end_task
from gateway.errors import NotFound, Overloaded
from gateway.openai.responses import Event, Response, ResponseUsage
from gateway.responses import background as background_module
from gateway.responses.background import Background
from gateway.responses.follow import follow
from gateway.responses.store import ResponseStore
from gateway.responses.turn import read_turn

Worker = Callable[..., Background]

CALLER = scope_of("acme", "app")


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background_module, "_LEASE", timedelta(seconds=0.5))
    monkeypatch.setattr(background_module, "_ALIVE_S", 0.1)
    monkeypatch.setattr(background_module, "_POLL_S", 0.1)
    monkeypatch.setattr(background_module, "_FLUSH_S", 0.02)


async def enqueue(worker: Background, **more: Any) -> Response:
    body = {"model": "fake/gpt-x", "input": "?", "background": True, **more}
    return await worker.enqueue(CALLER, read_turn(body, local_only=False), body)


@asynccontextmanager
async def at_work(worker: Background) -> AsyncIterator["asyncio.Task[None]"]:
    working = asyncio.create_task(worker.run())
    yield working
    await end_task(working)


async def ended(worker: Background, response_id: str) -> Response:
    async with asyncio.timeout(20):
        while not (stored := await worker._store.find(CALLER, response_id)).ended:
            await asyncio.sleep(0.02)
    return stored.decoded()


async def asked(upstream: Upstream, times: int) -> None:
    async with asyncio.timeout(10):
        while len(upstream.asked) < times:
            await asyncio.sleep(0.01)


async def kill(worker: Background, working: "asyncio.Task[None]") -> None:
    """End a worker as SIGKILL does: without a word to the store."""

    async def nothing(_: object) -> None:
        return

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "_release", nothing)
        await end_task(working)


async def events_of(store: ResponseStore, response_id: str) -> list[Event]:
    return [event async for event in follow(store, CALLER, response_id, -1)]


async def test_it_waits_until_somebody_works(new_worker: Worker, upstream: Upstream) -> None:
    upstream.stream(ROLE, HI, STOP, DONE)
    response = await enqueue(new_worker(max_background=0))
    other = new_worker()
    async with at_work(other):
        assert (await ended(other, response.id)).status == "completed"


async def test_another_takes_over_when_a_worker_is_killed(
    new_worker: Worker, upstream: Upstream
) -> None:
    upstream.stream(HI, hang=True)
    first, second = new_worker(), new_worker()
    async with at_work(first) as working:
        response = await enqueue(first)
        await asked(upstream, 1)
        await kill(first, working)
    upstream.stream(ROLE, HI, STOP, DONE)
    async with at_work(second):
        assert (await ended(second, response.id)).status == "completed"
    assert len(upstream.asked) == 2


async def test_a_worker_that_ends_in_order_hands_over_at_once(
    new_worker: Worker, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background_module, "_LEASE", timedelta(hours=1))
    upstream.stream(HI, hang=True)
    first, second = new_worker(), new_worker()
    async with at_work(first):
        response = await enqueue(first)
        await asked(upstream, 1)
    upstream.stream(ROLE, HI, STOP, DONE)
    async with at_work(second):
        assert (await ended(second, response.id)).status == "completed"


async def test_what_was_streamed_is_not_said_again(new_worker: Worker, upstream: Upstream) -> None:
    upstream.stream(HI, hang=True)
    first, second = new_worker(), new_worker()
    async with at_work(first) as working:
        response = await enqueue(first, stream=True)
        async for event in follow(first._store, CALLER, response.id, -1):
            if event["type"] == "response.output_text.delta":
                break
        await kill(first, working)
    async with at_work(second):
        failed = await ended(second, response.id)
    assert failed.status == "failed"
    assert failed.error is not None
    assert "ask again" in failed.error.message
    events = await events_of(second._store, response.id)
    assert events[-1]["type"] == "response.failed"
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert len(upstream.asked) == 1


async def test_one_that_kills_every_worker_fails(
    new_worker: Worker, upstream: Upstream, owner: asyncpg.Connection
) -> None:
    response = await enqueue(worker := new_worker())
    await owner.execute("UPDATE response_jobs SET attempts = 3")
    async with at_work(worker):
        assert (await ended(worker, response.id)).status == "failed"
    assert upstream.asked == []


async def test_a_lease_is_renewed_as_long_as_the_work_goes_on(
    new_worker: Worker, upstream: Upstream
) -> None:
    upstream.stream(HI, hang=True)
    first, second = new_worker(), new_worker()
    async with at_work(first), at_work(second):
        await enqueue(first)
        await asked(upstream, 1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.5):  # three leases
                await asked(upstream, 2)


async def test_a_worker_hears_of_a_cancellation_elsewhere(
    new_worker: Worker, upstream: Upstream
) -> None:
    upstream.stream(HI, hang=True)
    first, second = new_worker(), new_worker()
    async with at_work(first):
        response = await enqueue(first)
        await asked(upstream, 1)
        assert (await second.cancel(CALLER, response.id)).status == "cancelled"
        await asyncio.wait_for(upstream.left.wait(), 5)
    assert (await ended(second, response.id)).status == "cancelled"


async def test_no_more_than_the_bounds_allow(new_worker: Worker, upstream: Upstream) -> None:
    upstream.stream(HI, hang=True)
    worker = new_worker(max_background=2, max_queued=3)
    async with at_work(worker):
        for _ in range(3):
            await enqueue(worker)
        with pytest.raises(Overloaded) as caught:
            await enqueue(worker)
        assert caught.value.headers["retry-after"]
        await asked(upstream, 2)
        assert len(worker._working) == 2
    assert len(upstream.asked) == 2


async def test_what_is_over_its_time_is_gone(
    new_worker: Worker, upstream: Upstream, owner: asyncpg.Connection
) -> None:
    upstream.stream(ROLE, HI, STOP, DONE)
    worker = new_worker()
    async with at_work(worker):
        response = await enqueue(worker, stream=True)
        await ended(worker, response.id)
    await owner.execute("UPDATE response_events SET expires_at = now()")
    (last,) = await events_of(worker._store, response.id)
    assert last["type"] == "response.completed"
    await owner.execute("UPDATE responses SET expires_at = now()")
    with pytest.raises(NotFound):
        await worker._store.find(CALLER, response.id)
    with pytest.raises(NotFound):
        await worker._store.chain(CALLER, response.id)
    await worker._purge()
    for table in ("responses", "response_events"):
        assert await owner.fetchval(f"SELECT count(*) FROM {table}") == 0, table


async def test_what_is_built_on_is_kept_on(
    new_worker: Worker, upstream: Upstream, owner: asyncpg.Connection
) -> None:
    upstream.stream(ROLE, HI, STOP, DONE)
    worker = new_worker()
    async with at_work(worker):
        response = await enqueue(worker)
        await ended(worker, response.id)
        soon = "UPDATE responses SET expires_at = now() + interval '1 minute'"
        await owner.execute(soon)
        await enqueue(worker, previous_response_id=response.id)
    query = "SELECT expires_at > now() + interval '29 days' FROM responses WHERE id = $1"
    assert await owner.fetchval(query, response.id)


async def test_those_of_one_conversation_follow_each_other_and_hold_nobody_else_up(
    new_worker: Worker, upstream: Upstream
) -> None:
    worker, other = new_worker(max_background=2), new_worker(max_background=2)
    made = (await worker._responder._conversations.create(CALLER, {}, [])).id
    go_on = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        messages: Any = upstream.asked[-1]["messages"]
        if messages[0]["content"] == "1" and len(messages) == 1:
            await go_on.wait()
        body = ROLE + HI + STOP + DONE
        return web.Response(body=body, content_type="text/event-stream")

    upstream.answer = answer
    async with at_work(worker), at_work(other):
        turns = [await enqueue(worker, input=str(n), conversation=made) for n in (1, 2, 3)]
        alone = [await enqueue(other) for _ in range(3)]
        for each in alone:
            assert (await ended(worker, each.id)).status == "completed"
        assert len(upstream.asked) == 1 + len(alone)
        go_on.set()
        for each in turns:
            assert (await ended(worker, each.id)).status == "completed"
    items: Any = await worker._responder._conversations.page(CALLER, made, limit=10)
    assert [item.text for item in items] == ["1", "hi", "2", "hi", "3", "hi"]
    last: Any = upstream.asked[-1]["messages"]
    assert [message["content"] for message in last] == ["1", "hi", "2", "hi", "3"]


async def test_what_was_said_before_a_cancellation_is_kept(
    new_worker: Worker, upstream: Upstream
) -> None:
    upstream.stream(ROLE, HI, hang=True)
    worker = new_worker()
    made = (await worker._responder._conversations.create(CALLER, {}, [])).id
    async with at_work(worker):
        response = await enqueue(worker, conversation=made, stream=True)
        async for event in follow(worker._store, CALLER, response.id, -1):
            if event["type"] == "response.output_text.delta":
                break
        cancelled = (await worker.cancel(CALLER, response.id)).decoded()
    assert cancelled.status == "cancelled"
    assert [item.status for item in cancelled.output] == ["incomplete"]
    assert isinstance(cancelled.usage, ResponseUsage)
    assert cancelled.usage.output_tokens > 0
    items: Any = await worker._responder._conversations.page(CALLER, made, limit=10)
    assert [item.text for item in items] == ["?", "hi"]
    events = await events_of(worker._store, response.id)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))


async def test_a_turn_that_is_handed_over_is_kept_once(
    new_worker: Worker, upstream: Upstream
) -> None:
    upstream.stream(ROLE, HI, hang=True)
    first, second = new_worker(), new_worker()
    made = (await first._responder._conversations.create(CALLER, {}, [])).id
    async with at_work(first):
        response = await enqueue(first, conversation=made)
        await asked(upstream, 1)
    upstream.stream(ROLE, HI, STOP, DONE)
    async with at_work(second):
        assert (await ended(second, response.id)).status == "completed"
    items: Any = await first._responder._conversations.page(CALLER, made, limit=10)
    assert [item.text for item in items] == ["?", "hi"]
