"""`/v1/responses` on the real engine: OpenAI's schema, the SDKs, and what an engine is not sent."""

import asyncio
from contextlib import suppress
from typing import Any

import httpx
import openai
import pydantic
import pytest
from agents import (
    Agent,
    ModelBehaviorError,
    ModelSettings,
    OpenAIConversationsSession,
    OpenAIResponsesModel,
    Runner,
    RunResult,
    function_tool,
    set_tracing_disabled,
)
from gateway_support import Service
from knowledge import pdf_of
from responses_support import PATH, check_stream, frames_of, make, make_stream, text_of

ASKED: dict[str, Any] = {"model": "tiny", "input": "hello", "max_output_tokens": 16}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"sunny": {"type": "boolean"}},
    "required": ["sunny"],
    "additionalProperties": False,
}
WEATHER: dict[str, Any] = {
    "type": "function",
    "name": "weather",
    "parameters": SCHEMA,
    "strict": True,
}
_LONG = 8000
set_tracing_disabled(True)


class Weather(pydantic.BaseModel):
    sunny: bool


async def test_an_answer_and_a_stream_of_it(engine_http: httpx.AsyncClient) -> None:
    whole = await make(engine_http, **ASKED, temperature=0)
    streamed = check_stream(await make_stream(engine_http, **ASKED, temperature=0))
    for response in (whole, streamed):
        assert response["status"] == "incomplete"
        assert response["incomplete_details"] == {"reason": "max_output_tokens"}
        assert response["usage"]["output_tokens"] == 16
        assert response["model"] == "tiny"
    assert text_of(whole) == text_of(streamed)


async def test_a_chain_and_a_conversation(engine_http: httpx.AsyncClient) -> None:
    first = await make(engine_http, **ASKED)
    second = await make(engine_http, **ASKED, previous_response_id=first["id"])
    assert second["usage"]["input_tokens"] > first["usage"]["input_tokens"]
    conversation = (await engine_http.post("/v1/conversations", json={})).json()["id"]
    for _ in range(2):
        await make(engine_http, **ASKED, conversation=conversation)
    items = await engine_http.get(f"/v1/conversations/{conversation}/items")
    assert len(items.json()["data"]) == 4


async def test_a_function_and_its_output(engine_http: httpx.AsyncClient) -> None:
    fields = {"tools": [WEATHER], "tool_choice": {"type": "function", "name": "weather"}}
    body = ASKED | fields | {"max_output_tokens": 200}
    for seed in range(20):  # see `run_until_called`
        streamed = check_stream(await make_stream(engine_http, **body, seed=seed))
        if streamed["status"] == "completed":
            break
    (call,) = streamed["output"]
    Weather.model_validate_json(call["arguments"])
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "sun"}
    thought = {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "hm"}]}
    items = [{"role": "user", "content": "?"}, thought, call, output]
    await make(engine_http, **ASKED | {"input": items}, tools=[WEATHER])


async def test_json_that_fits_a_schema(engine_http: httpx.AsyncClient) -> None:
    form = {"type": "json_schema", "name": "weather", "schema": SCHEMA, "strict": True}
    body = ASKED | {"max_output_tokens": 64}
    response = await make(engine_http, **body, text={"format": form})
    Weather.model_validate_json(text_of(response))


async def test_logprobs(engine_http: httpx.AsyncClient) -> None:
    fields = {"include": ["message.output_text.logprobs"], "top_logprobs": 2}
    engine_http.timeout = httpx.Timeout(120)  # its first time takes an engine long
    response = check_stream(await make_stream(engine_http, **ASKED, **fields))
    logprobs = response["output"][0]["content"][0]["logprobs"]
    assert len(logprobs) == 16
    assert len(logprobs[0]["top_logprobs"]) == 2


async def test_an_engine_reads_a_documents_text(engine_http: httpx.AsyncClient) -> None:
    upload = {"file": ("a.pdf", pdf_of(["Sick leave: ten days. " * 20]))}
    file = (await engine_http.post("/v1/files", files=upload)).json()["id"]
    content = [{"type": "input_file", "file_id": file}]
    items = [{"role": "user", "content": content}]
    response = await make(engine_http, **ASKED | {"input": items})
    assert response["usage"]["input_tokens"] > 100


async def test_a_search_before_an_engine_answers(
    engine_http: httpx.AsyncClient, engine_service: Service
) -> None:
    tool = {"type": "file_search", "vector_store_ids": [engine_service.store]}
    body = ASKED | {"input": "병가는 며칠인가요?", "tools": [tool]}
    response = check_stream(
        await make_stream(engine_http, **body, include=["file_search_call.results"])
    )
    assert "10일까지" in str(response["output"][0]["results"])


async def test_a_long_conversation_is_shortened_to_what_the_engine_holds(
    engine_http: httpx.AsyncClient,
) -> None:
    items = [{"role": "user", "content": f"{n} " * 2000} for n in range(8)]
    refused = await engine_http.post(PATH, json=ASKED | {"input": items})
    assert refused.json()["error"]["code"] == "context_length_exceeded"
    await make(engine_http, **ASKED | {"input": items}, truncation="auto")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"chat_template": "{{ 1 }}"}, "chat_template"),
        ({"cache_salt": "x"}, "cache_salt"),
        ({"top_k": 10**9}, "top_k"),
    ],
)
async def test_what_an_engine_is_not_sent(
    engine_http: httpx.AsyncClient, fields: dict[str, Any], param: str
) -> None:
    answer = await engine_http.post(PATH, json=ASKED | fields)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    await make(engine_http, **ASKED, top_k=5)


async def test_who_leaves_ends_the_engines_work(engine_http: httpx.AsyncClient) -> None:
    left = await _leave_early(engine_http)
    assert left["status"] == "cancelled"
    assert 0 < left["usage"]["output_tokens"] < _LONG


async def _leave_early(http: httpx.AsyncClient) -> dict[str, Any]:
    """Leave a long answer at its first word; return what is stored of it."""
    body = ASKED | {"max_output_tokens": _LONG, "stream": True, "ignore_eos": True}
    async with http.stream("POST", PATH, json=body) as stream:
        events = frames_of(stream)
        begun = (await anext(events))["response"]["id"]
        async for event in events:
            if event["type"] == "response.output_text.delta":
                break
    async with asyncio.timeout(60):
        while (found := await http.get(f"{PATH}/{begun}")).status_code == 404:
            await asyncio.sleep(0.05)
    stored: dict[str, Any] = found.json()
    return stored


async def test_the_openai_sdk(sdk: openai.AsyncOpenAI) -> None:
    parsed = await sdk.responses.parse(
        model="tiny", input="?", text_format=Weather, max_output_tokens=64
    )
    assert isinstance(parsed.output_parsed, Weather)
    async with sdk.responses.stream(
        model="tiny", input="?", text_format=Weather, max_output_tokens=64
    ) as stream:
        final = await stream.get_final_response()
    assert isinstance(final.output_parsed, Weather)


@function_tool
def weather(sunny: bool) -> str:
    """Tell the weather."""
    return f"sunny: {sunny}"


async def run_until_called(agent: Agent[Any], name: str, **more: Any) -> RunResult:
    """Run an agent whose model must call `name`.

    A random model may fill its answer with the white space that the grammar allows.
    """
    for seed in range(20):
        must = ModelSettings(
            tool_choice=name, max_tokens=200, temperature=1, extra_body={"seed": seed}
        )
        with suppress(ModelBehaviorError):
            return await Runner.run(agent.clone(model_settings=must), "weather?", **more)
    raise AssertionError("no seed calls it")


async def test_the_agents_sdk(sdk: openai.AsyncOpenAI) -> None:
    """A random model calls the one function it must, or its answer is held to a schema."""
    model = OpenAIResponsesModel(model="tiny", openai_client=sdk)
    caller: Agent[Any] = Agent(
        name="caller", model=model, tools=[weather], tool_use_behavior="stop_on_first_tool"
    )
    called = await run_until_called(caller, "weather")
    assert str(called.final_output).startswith("sunny: ")
    may = ModelSettings(max_tokens=64, temperature=0)
    expert: Agent[Any] = Agent(name="expert", model=model, output_type=Weather, model_settings=may)
    desk: Agent[Any] = Agent(name="desk", model=model, handoffs=[expert])
    session = OpenAIConversationsSession(openai_client=sdk)
    handed = await run_until_called(desk, "transfer_to_expert", session=session)
    assert handed.last_agent is expert
    assert isinstance(handed.final_output, Weather)
    assert len(await session.get_items()) >= 4
