"""Every way to ask an agent keeps its contract, with quotes and with a real language model.

The clients are the `openai` SDK and a reader of events that knows the standard alone.
"""

import uuid
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import httpx
import openai
import pytest
from agent_contract import check_chunks, check_events, fits, without_end
from gateway_support import Service, client_of
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai_schema import faults
from sse_reader import SentEvent, sent_events

from gateway.agents.draft import Question
from gateway.openai.agents import AgentReply
from gateway.routes import agent_chat

ASKED = "병가는 며칠인가요?"
MESSAGES: Any = [{"role": "user", "content": ASKED}]
SAMPLING: dict[str, Any] = {"max_tokens": 12, "temperature": 0}
PAIS = "/api/v1/compatibility/openai/v1/agents"
BASES = {"model": "/v1", "agent": "/v1/agents/{}", "pais": PAIS + "/{}"}
QUOTES, ENGINE = "contract-quotes", "contract-engine"
MODELS = {QUOTES: "quotes", ENGINE: "tiny"}
FINISH = {QUOTES: "stop", ENGINE: "length"}

facades = pytest.mark.parametrize("facade", BASES)
agents = pytest.mark.parametrize("agent", MODELS)


@pytest.fixture(scope="module", autouse=True)
async def _agents(engine_service: Service) -> AsyncIterator[None]:
    """An agent that quotes, and one that a real language model answers for."""
    shared = {"instructions": "Be brief.", "vector_stores": [engine_service.store]}
    async with client_of(engine_service, engine_service.key) as http:
        for name, model in MODELS.items():
            made = await http.post("/v1/agents", json={"name": name, "model": model, **shared})
            assert made.status_code == 201, made.text
        yield
        for name in MODELS:
            await http.delete(f"/v1/agents/{name}")


@pytest.fixture
def _terse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `/chat`, which takes no sampling, ask as the other routes do.

    A random model that is free to would talk until its context is full.
    """
    monkeypatch.setattr(agent_chat, "Question", partial(Question, sampling=SAMPLING))


def path_of(facade: str, agent: str) -> str:
    return BASES[facade].format(agent) + "/chat/completions"


def body_of(agent: str, **more: Any) -> dict[str, Any]:
    return {"model": agent, "messages": MESSAGES, **SAMPLING, **more}


def new_key() -> dict[str, str]:
    return {"idempotency-key": uuid.uuid4().hex}


def new_session() -> str:
    return f"contract-{uuid.uuid4().hex}"


async def stream(
    http: httpx.AsyncClient, path: str, body: dict[str, Any], **headers: str
) -> list[SentEvent]:
    """Ask for a stream and read it to its end."""
    asked = body | {"stream": True}
    async with http.stream("POST", path, json=asked, headers=headers) as answer:
        return [event async for event in sent_events(answer)]


async def cut(
    http: httpx.AsyncClient, path: str, body: dict[str, Any], count: int, **headers: str
) -> list[SentEvent]:
    """Ask for a stream that may be resumed, and leave after so many events."""
    seen: list[SentEvent] = []
    asked = body | {"stream": True, "resumable": True}
    async with http.stream("POST", path, json=asked, headers=headers) as answer:
        async for event in sent_events(answer):
            seen.append(event)
            if len(seen) == count:
                break
    return seen


@facades
@agents
@pytest.mark.parametrize("usage", [False, True])
async def test_chunks(engine_http: httpx.AsyncClient, facade: str, agent: str, usage: bool) -> None:
    session = new_session()
    body = body_of(agent, session_id=session)
    if usage:
        body["stream_options"] = {"include_usage": True}
    events = await stream(engine_http, path_of(facade, agent), body)
    told = check_chunks(events, usage=usage, context=facade == "pais")
    assert told.session_id == session
    assert told.finish_reason == FINISH[agent]
    assert bool(told.references) == (agent == QUOTES)
    stored = await engine_http.get(f"/v1/sessions/{session}/messages")
    assert [message["content"] for message in stored.json()["data"]] == [ASKED, told.text]


@facades
@agents
async def test_a_whole_completion_says_what_its_stream_says(
    engine_http: httpx.AsyncClient, facade: str, agent: str
) -> None:
    path = path_of(facade, agent)
    answer = await engine_http.post(path, json=body_of(agent, session_id=new_session()))
    assert answer.status_code == 200, answer.text
    whole = answer.json()
    assert not faults(whole, "CreateChatCompletionResponse")
    events = await stream(engine_http, path, body_of(agent, session_id=new_session()))
    told = check_chunks(events, usage=False, context=facade == "pais")
    (choice,) = whole["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == (
        told.text,
        told.finish_reason,
    )
    assert [each["chunk_id"] for each in whole["references"]] == [
        each.chunk_id for each in told.references
    ]


@agents
@pytest.mark.usefixtures("_terse")
async def test_typed_events(engine_http: httpx.AsyncClient, agent: str) -> None:
    session, path = new_session(), f"/v1/agents/{agent}/chat"
    body = {"message": ASKED, "session_id": session}
    reply = check_events(await stream(engine_http, path, body))
    assert (reply.session_id, reply.agent) == (session, agent)
    assert reply.model == {QUOTES: "extractive", ENGINE: "engine/tiny"}[agent]
    assert bool(reply.references) == (agent == QUOTES)
    stored = (await engine_http.get(f"/v1/sessions/{session}/messages")).json()["data"]
    assert (stored[-1]["id"], stored[-1]["content"]) == (reply.message_id, reply.response)
    whole = await engine_http.post(path, json={"message": ASKED})
    assert fits(whole.text, AgentReply).response == reply.response


async def check_cut(
    http: httpx.AsyncClient, path: str, body: dict[str, Any], count: int
) -> list[SentEvent]:
    """Leave after so many events, come back, and return all; nothing is missing or told twice."""
    key = new_key()
    seen = await cut(http, path, body, count, **key)
    back = {"last-event-id": seen[-1].id}
    rest = await stream(http, path, body | {"resumable": True}, **back)
    whole = await stream(http, path, body | {"resumable": True}, **key)
    assert seen + rest == whole
    told = without_end(whole)
    numbers = [f"{told[0].id.rpartition('.')[0]}.{n}" for n in range(1, len(told) + 1)]
    assert [event.id for event in told] == numbers
    return whole


@facades
@agents
@pytest.mark.parametrize("count", [1, 2, 3])
async def test_cut_chunks_go_on(
    engine_http: httpx.AsyncClient, facade: str, agent: str, count: int
) -> None:
    body = body_of(agent, stream_options={"include_usage": True})
    events = await check_cut(engine_http, path_of(facade, agent), body, count)
    assert len(events) > count + 1
    check_chunks(events, usage=True, context=facade == "pais")


@agents
@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.usefixtures("_terse")
async def test_cut_events_go_on(engine_http: httpx.AsyncClient, agent: str, count: int) -> None:
    body = {"message": ASKED, "session_id": new_session()}
    events = await check_cut(engine_http, f"/v1/agents/{agent}/chat", body, count)
    assert check_events(events).agent == agent


async def test_a_browser_that_is_cut_at_every_event(engine_http: httpx.AsyncClient) -> None:
    """An `EventSource` comes back with the last id it saw, until 204 tells it to stop."""
    body = {"message": ASKED, "session_id": new_session()}
    seen = await cut(engine_http, f"/v1/agents/{QUOTES}/chat", body, 1)
    message = seen[0].id.rpartition(".")[0]
    path = f"/v1/sessions/{body['session_id']}/messages/{message}/stream"
    while True:
        last = {"last-event-id": seen[-1].id}
        async with engine_http.stream("GET", path, headers=last) as answer:
            if answer.status_code == 204:
                break
            seen.append(await anext(sent_events(answer)))
    check_events([*seen, SentEvent("message", "[DONE]", seen[-1].id)])


@pytest.fixture
async def client(engine_service: Service, facade: str, agent: str) -> AsyncIterator[Any]:
    """The SDK where its users point it."""
    url = engine_service.url + BASES[facade].format(agent)
    async with openai.AsyncOpenAI(base_url=url, api_key=engine_service.key) as opened:
        yield opened


async def collected(chunks: openai.AsyncStream[ChatCompletionChunk]) -> str:
    return "".join(
        [choice.delta.content or "" async for chunk in chunks for choice in chunk.choices]
    )


@facades
@agents
async def test_the_sdk_collects_the_same_text(client: openai.AsyncOpenAI, agent: str) -> None:
    asked: Any = body_of(agent)
    whole = await client.chat.completions.create(**asked)
    text = await collected(await client.chat.completions.create(**asked, stream=True))
    assert text == whole.choices[0].message.content
    assert whole.choices[0].finish_reason == FINISH[agent]
    # The SDK's helper takes an answer that was cut at its limit for an error.
    if whole.choices[0].finish_reason == "stop":
        async with client.chat.completions.stream(**asked) as events:
            final = await events.get_final_completion()
        assert final.choices[0].message.content == text


@facades
@agents
async def test_a_key_of_the_sdk_replays(
    client: openai.AsyncOpenAI, engine_http: httpx.AsyncClient, agent: str
) -> None:
    session = new_session()
    asked: Any = body_of(agent) | {"extra_body": {"session_id": session}}
    whole: list[ChatCompletion] = []
    for headers in [new_key()] * 2:
        raw = await client.chat.completions.with_raw_response.create(**asked, extra_headers=headers)
        assert ("idempotent-replayed" in raw.headers) == bool(whole)
        whole.append(raw.parse())
    assert whole[0] == whole[1]
    streamed = []
    for headers in [new_key()] * 2:
        chunks = await client.chat.completions.create(**asked, stream=True, extra_headers=headers)
        streamed.append([chunk async for chunk in chunks])
    assert streamed[0] == streamed[1]
    # Two turns were had: one told whole and again, one streamed and again.
    stored = await engine_http.get(f"/v1/sessions/{session}/messages")
    assert [message["role"] for message in stored.json()["data"]] == ["user", "assistant"] * 2


@facades
@agents
async def test_refusals_are_the_sdks_errors(
    client: openai.AsyncOpenAI, facade: str, agent: str
) -> None:
    create, asked = client.chat.completions.create, body_of(agent)
    tool = {"type": "function", "function": {"name": "f"}}
    for more in ({"tools": [tool]}, {"n": 2}, {"messages": []}):
        for streamed in (False, True):
            with pytest.raises(openai.BadRequestError) as refused:
                await create(**asked | more, stream=streamed)
            assert next(iter(more)) in refused.value.message
    key = new_key()
    await create(**asked, extra_headers=key)
    with pytest.raises(openai.UnprocessableEntityError) as reused:
        await create(**asked | {"seed": 1}, extra_headers=key)
    assert reused.value.code == "idempotency_key_reused"
    if facade == "model":
        with pytest.raises(openai.NotFoundError):
            await create(**asked | {"model": "nobody"})
