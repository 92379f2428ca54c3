"""What is stored of requests by every route: where the policy masks, no planted data is found."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import msgspec
import pytest
from aiohttp import web
from gateway_support import Service, client_of, replica_of
from support import scope_of
from upstream_support import DONE, STOP, Upstream, json_answer

from config.postgres import open_pool
from gateway.agents.changes import save_agent
from gateway.agents.definition import AgentDefinition, AnswerPolicy

PHONE, EMAIL = "010-9183-2746", "mina.kim.81@example.org"
PLANTED = f"전화 {PHONE}, 메일 {EMAIL}, 고마워"
MASKED = "전화 [PHONE], 메일 [EMAIL], 고마워"
QUESTION = f"연차 휴가는 며칠인가요? {PLANTED}"
"""What the handbook answers."""
SAID = [{"role": "user", "content": PLANTED}]
ASKED = [{"role": "user", "content": QUESTION}]
FOUND = r"9183.?2746|mina\.kim"
TABLES = {
    "messages",
    "message_traces",
    "sessions",
    "feedback",
    "turns",
    "turn_parts",
    "responses",
    "response_events",
}


@pytest.fixture(
    scope="module", params=[{"storage": "mask"}, {"models": {"fake/x": {"storage": "mask"}}}]
)
def policies(request: pytest.FixtureRequest) -> dict[str, Any]:
    return dict(request.param)


@pytest.fixture(scope="module")
async def masking(
    service: Service,
    sockets: Path,
    data_dir: Path,
    redis_url: str,
    upstream: Upstream,
    policies: dict[str, Any],
) -> AsyncIterator[Service]:
    settings = {
        "data_dir": data_dir,
        "redis": {"url": redis_url},
        "masking": policies,
        "audit": {"calls": True},
        "providers": {"fake": {"base_url": upstream.url, "api_key": "sk-upstream"}},
        "models": {"smart": ["fake/x"]},
    }
    async with (
        await open_pool(service.database, size=1) as pool,
        replica_of(service, sockets, settings) as opened,
    ):
        talkative = AnswerPolicy(without_sources="answer")
        agent = AgentDefinition("planted", "Be brief.", "smart", (service.store,), answer=talkative)
        await save_agent(pool, scope_of("acme", "app"), agent)
        yield opened


@pytest.fixture
async def app(masking: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(masking, masking.key) as client:
        yield client


@pytest.fixture(autouse=True)
def echo(upstream: Upstream) -> Iterator[None]:
    """The upstream says what it is asked, a character a chunk, and puts it into a tool's call."""
    before, upstream.asked[:] = upstream.answer, []

    async def answer(_: web.Request) -> web.StreamResponse:
        asked = msgspec.convert(upstream.asked[-1], dict)
        text = asked["messages"][-1]["content"]
        arguments = msgspec.json.encode({"to": text}).decode()
        call = {"id": "call_1", "type": "function", "function": {"name": "mail", "arguments": ""}}
        if not asked.get("stream"):
            call["function"] = {"name": "mail", "arguments": arguments}
            calls = {"tool_calls": [call]} if asked.get("tools") else {}
            choice = {"message": {"content": text, **calls}, "finish_reason": "stop"}
            return await json_answer(msgspec.json.encode({"choices": [choice]}))
        deltas: list[dict[str, Any]] = [{"content": each} for each in text]
        if asked.get("tools"):
            deltas += [{"tool_calls": [{"index": 0, **call}]}]
            parts = [{"index": 0, "function": {"arguments": each}} for each in arguments]
            deltas += [{"tool_calls": [part]} for part in parts]
        chunks = [msgspec.json.encode({"choices": [{"delta": delta}]}) for delta in deltas]
        body = b"".join([*(b"data: " + chunk + b"\n\n" for chunk in chunks), STOP, DONE])
        return web.Response(body=body, content_type="text/event-stream")

    upstream.answer = answer
    yield
    upstream.answer = before


TOOL = {"type": "function", "name": "mail", "parameters": {"type": "object"}, "strict": False}


def _response(**fields: Any) -> dict[str, Any]:
    told = {"instructions": PLANTED, "metadata": {"who": PHONE}, "tools": [TOOL]}
    return {"model": "smart", "input": PLANTED, **told, **fields}


async def _ok(app: httpx.AsyncClient, path: str, body: Any, **headers: str) -> httpx.Response:
    answer = await app.post(path, json=body, headers=headers)
    assert answer.status_code == 200, (path, answer.text)
    return answer


async def _ended(app: httpx.AsyncClient, response_id: str) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while True:
            told = (await app.get(f"/v1/responses/{response_id}")).json()
            if told["status"] not in ("queued", "in_progress"):
                return dict(told)
            await asyncio.sleep(0.1)


async def _ask_everything(app: httpx.AsyncClient) -> None:
    """Plant personal data in all that callers can say and models can answer."""
    await _ok(app, "/v1/chat/completions", {"model": "smart", "messages": SAID, "user": PHONE})
    asked = {"message": QUESTION, "session_id": "planted"}
    told = (await _ok(app, "/v1/agents/planted/chat", asked)).json()
    opinion = {"comment": PLANTED, "corrected_answer": PLANTED, "rating": "down"}
    await _ok(app, "/v1/feedback", {"message_id": told["message_id"], **opinion})
    for stream in (False, True):
        for session in ({}, {"session_id": f"planted-{stream}"}):
            body = {"message": QUESTION, "stream": stream, **session}
            key = {"idempotency-key": f"planted-{stream}-{bool(session)}"}
            first = await _ok(app, "/v1/agents/planted/chat", body, **key)
            again = await _ok(app, "/v1/agents/planted/chat", body, **key)
            assert "[PHONE]" in again.text
            assert stream or first.json() == again.json()
        body = {"messages": ASKED, "model": "planted", "stream": stream, "session_id": "planted-2"}
        await _ok(app, "/v1/agents/planted/chat/completions", body)
        await _ok(app, "/v1/responses", _response(stream=stream))
        await _ok(app, "/v1/responses", {"model": "planted", "input": QUESTION, "stream": stream})
    conversation = (await _ok(app, "/v1/conversations", {})).json()["id"]
    await _ok(app, "/v1/responses", _response(conversation=conversation))
    await _ok(app, "/v1/responses", _response(conversation=conversation, stream=True))
    for stream in (False, True):
        body = _response(background=True, stream=stream, metadata={"who": PHONE, "n": str(stream)})
        answer = await _ok(app, "/v1/responses", body)
        if not stream:
            ended = await _ended(app, answer.json()["id"])
            assert ended["status"] == "completed"


async def _say_to_nobody(app: httpx.AsyncClient) -> None:
    item = {"type": "message", "role": "user", "content": PLANTED}
    made = {"items": [item], "metadata": {"who": EMAIL}}
    conversation = (await _ok(app, "/v1/conversations", made)).json()["id"]
    await _ok(app, f"/v1/conversations/{conversation}", {"metadata": {"who": PHONE}})
    await _ok(app, f"/v1/conversations/{conversation}/items", {"items": [item]})


async def test_nothing_planted_stands_in_any_table(
    app: httpx.AsyncClient, masking: Service, upstream: Upstream, policies: dict[str, Any]
) -> None:
    await _ask_everything(app)
    if "storage" in policies:
        # What no model is asked is of no model's policy.
        await _say_to_nobody(app)
    assert all(PHONE in msgspec.json.encode(each).decode() for each in upstream.asked[:1])
    owner = await asyncpg.connect(masking.database)
    tables = await owner.fetch(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"
    )
    planted, masked = {}, set()
    for (table,) in tables:
        query = f'SELECT r::text FROM "{table}" AS r WHERE r::text ~ $1'
        if rows := await owner.fetch(query, FOUND):
            planted[table] = [row[0][:2000] for row in rows]
        if await owner.fetch(query, r"\[PHONE\]"):
            masked.add(table)
    await owner.close()
    assert planted == {}
    unmasked = {"message_traces"} if "storage" in policies else {"message_traces", "sessions"}
    assert masked >= TABLES - unmasked


@pytest.mark.parametrize("background", [False, True])
async def test_who_comes_back_to_a_stream_is_told_all_of_it(
    app: httpx.AsyncClient, *, background: bool
) -> None:
    asked = _response(stream=True, background=background)
    answer = await _ok(app, "/v1/responses", asked)
    events = [
        msgspec.json.decode(line.removeprefix("data: "))
        for line in answer.text.splitlines()
        if line.startswith("data: {")
    ]
    response_id = events[0]["response"]["id"]
    told = await app.get(f"/v1/responses/{response_id}", params={"stream": True})
    again = [
        msgspec.json.decode(line.removeprefix("data: "))
        for line in told.text.splitlines()
        if line.startswith("data: {")
    ]
    numbers = [event["sequence_number"] for event in again]
    assert numbers == list(range(len(again)))
    assert len(again) == len(events)
    for kind, whole in (
        ("response.output_text.delta", MASKED),
        ("response.function_call_arguments.delta", f'{{"to":"{MASKED}"}}'),
    ):
        assert "".join(each["delta"] for each in again if each["type"] == kind) == whole
    assert again[-1]["type"] == "response.completed"
    stored = (await app.get(f"/v1/responses/{response_id}")).json()
    assert stored["output"][0]["content"][0]["text"] == MASKED
