"""Background responses, and what becomes of work that nobody waits for any more."""

import asyncio
import time
from typing import Any

import asyncpg
import httpx
import pytest
from aiohttp import web
from gateway_support import Service
from openai_schema import faults
from responses_support import PATH, check_stream, events_of, frames_of, make, make_stream, text_of
from upstream_support import COMPLETION, DONE, HI, ROLE, STOP, Upstream, json_answer

MODEL = "fake/gpt-x"
QUESTION = "병가는 며칠인가요?"


async def until(http: httpx.AsyncClient, response_id: str, *statuses: str) -> dict[str, Any]:
    async with asyncio.timeout(20):
        while True:
            response = (await http.get(f"{PATH}/{response_id}")).json()
            if response.get("status") in statuses:
                assert not faults(response, "Response")
                return response
            await asyncio.sleep(0.05)


async def asked_once_more(upstream: Upstream, before: int) -> None:
    async with asyncio.timeout(10):
        while len(upstream.asked) == before:
            await asyncio.sleep(0.01)


async def test_it_is_queued_and_polled(http: httpx.AsyncClient, upstream: Upstream) -> None:
    upstream.stream(ROLE, HI, STOP, DONE)
    queued = await make(http, model=MODEL, input="?", background=True, metadata={"a": "b"})
    assert (queued["status"], queued["output"]) == ("queued", [])
    done = await until(http, queued["id"], "completed")
    assert text_of(done) == "hi"
    assert done["metadata"] == {"a": "b"}
    upstream.answer = lambda _: json_answer(COMPLETION)
    following = await make(http, model=MODEL, input="?", previous_response_id=queued["id"])
    assert following["previous_response_id"] == queued["id"]


async def test_an_agent_works_in_the_background(http: httpx.AsyncClient) -> None:
    made = (await http.post("/v1/conversations", json={})).json()["id"]
    body = {"model": "hr", "input": QUESTION, "background": True, "conversation": made}
    done = await until(http, (await make(http, **body))["id"], "completed")
    assert "10일" in text_of(done)
    assert len((await http.get(f"/v1/conversations/{made}/items")).json()["data"]) == 2


async def test_a_stream_of_the_background_outlives_its_reader(
    http: httpx.AsyncClient, upstream: Upstream
) -> None:
    go_on = asyncio.Event()

    async def answer(request: Any) -> Any:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        await response.write(ROLE + HI)
        await go_on.wait()
        await response.write(HI + STOP + DONE)
        return response

    upstream.answer = answer
    body = {"model": MODEL, "input": "?", "background": True, "stream": True}
    seen: list[dict[str, Any]] = []
    async with http.stream("POST", PATH, json=body) as stream:
        async for event in frames_of(stream):
            seen.append(event)
            if event["type"] == "response.output_text.delta":
                break
    kinds = [event["type"].removeprefix("response.") for event in seen]
    assert kinds[:3] == ["created", "queued", "in_progress"]
    assert [event["response"]["status"] for event in seen[:3]] == [
        "queued",
        "queued",
        "in_progress",
    ]
    path = f"{PATH}/{seen[0]['response']['id']}"
    after = seen[-1]["sequence_number"]
    again = asyncio.create_task(http.get(path, params={"stream": "true", "starting_after": after}))
    go_on.set()
    rest = events_of((await again).text)
    assert text_of(check_stream(seen + rest)) == "hihi"
    assert events_of((await http.get(path, params={"stream": "true"})).text) == seen + rest


async def test_a_failure_is_told(http: httpx.AsyncClient, upstream: Upstream) -> None:
    upstream.answer = lambda _: json_answer(b"{}", 429)
    body = {"model": "fake/full", "input": "?", "background": True}
    failed = await until(http, (await make(http, **body))["id"], "failed")
    assert failed["error"]["code"] == "rate_limit_exceeded"
    events = await make_stream(http, **body)
    response = check_stream(events)
    assert [event["type"] for event in events][-2:] == ["response.queued", "response.failed"]
    assert response["status"] == "failed"


async def test_cancelling_ends_the_upstreams_work(
    http: httpx.AsyncClient, upstream: Upstream
) -> None:
    upstream.left.clear()
    upstream.stream(HI, hang=True)
    before = len(upstream.asked)
    body = {"model": MODEL, "input": "?", "background": True}
    queued = await make(http, **body)
    await asked_once_more(upstream, before)
    began = time.monotonic()
    cancelled = (await http.post(f"{PATH}/{queued['id']}/cancel")).json()
    assert not faults(cancelled, "Response")
    assert cancelled["status"] == "cancelled"
    await asyncio.wait_for(upstream.left.wait(), 10)
    assert time.monotonic() - began < 1
    again = (await http.post(f"{PATH}/{queued['id']}/cancel")).json()
    assert again == cancelled == (await http.get(f"{PATH}/{queued['id']}")).json()


async def test_whoever_follows_a_cancelled_stream_sees_its_end(
    http: httpx.AsyncClient, upstream: Upstream
) -> None:
    upstream.stream(HI, hang=True)
    body = {"model": MODEL, "input": "?", "background": True, "stream": True}
    seen: list[dict[str, Any]] = []
    async with http.stream("POST", PATH, json=body) as stream:
        async for event in frames_of(stream):
            seen.append(event)
            if event["type"] == "response.output_text.delta":
                await http.post(f"{PATH}/{seen[0]['response']['id']}/cancel")
    response = check_stream(seen)
    assert (seen[-1]["type"], response["status"]) == ("response.incomplete", "cancelled")


async def test_deleting_ends_the_upstreams_work_too(
    http: httpx.AsyncClient, upstream: Upstream
) -> None:
    upstream.left.clear()
    upstream.stream(HI, hang=True)
    before = len(upstream.asked)
    queued = await make(http, model=MODEL, input="?", background=True)
    await asked_once_more(upstream, before)
    assert (await http.delete(f"{PATH}/{queued['id']}")).status_code == 200
    await asyncio.wait_for(upstream.left.wait(), 10)


@pytest.mark.parametrize("model", [MODEL, "clever"])
async def test_a_caller_that_leaves_ends_the_upstreams_work(
    http: httpx.AsyncClient, upstream: Upstream, model: str
) -> None:
    upstream.left.clear()
    upstream.stream(HI, hang=True)
    body = {"model": model, "input": QUESTION, "stream": True}
    async with http.stream("POST", PATH, json=body) as stream:
        first = await anext(frames_of(stream))
    await asyncio.wait_for(upstream.left.wait(), 10)
    left = await until(http, first["response"]["id"], "cancelled")
    assert text_of(left) in ("", "hi")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", [MODEL, "clever"])
async def test_who_leaves_before_the_first_byte_ends_it_too(
    http: httpx.AsyncClient, upstream: Upstream, model: str, stream: bool
) -> None:
    upstream.left.clear()
    upstream.stream(ROLE, hang=True)
    before = len(upstream.asked)
    body = {"model": model, "input": QUESTION, "stream": stream}
    waiting = asyncio.create_task(http.post(PATH, json=body))
    await asked_once_more(upstream, before)
    waiting.cancel()
    await asyncio.wait([waiting])
    began = time.monotonic()
    await asyncio.wait_for(upstream.left.wait(), 10)
    assert time.monotonic() - began < 1


async def test_what_was_asked_is_forgotten_when_it_is_answered(
    http: httpx.AsyncClient, service: Service, upstream: Upstream
) -> None:
    upstream.stream(ROLE, HI, STOP, DONE)
    queued = await make(http, model=MODEL, input="?", background=True)
    await until(http, queued["id"], "completed")
    owner = await asyncpg.connect(service.database)
    for table in ("response_jobs", "response_requests"):
        query = f"SELECT count(*) FROM {table} WHERE response = $1"
        assert await owner.fetchval(query, queued["id"]) == 0
    await owner.close()
