"""The `openai` SDK's helpers and the OpenAI Agents SDK work on `/v1/responses` as they are."""

import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pydantic
import pytest
from agents import (
    Agent,
    ModelSettings,
    OpenAIConversationsSession,
    OpenAIResponsesModel,
    RunConfig,
    Runner,
    SQLiteSession,
    function_tool,
    set_tracing_disabled,
)
from aiohttp import web
from gateway_support import Service
from upstream_support import DONE, HI, ROLE, STOP, Upstream, json_answer

MODEL = "fake/gpt-x"
set_tracing_disabled(True)


class Weather(pydantic.BaseModel):
    sunny: bool


@pytest.fixture
async def sdk(service: Service) -> AsyncIterator[openai.AsyncOpenAI]:
    url = f"{service.url}/v1"
    async with openai.AsyncOpenAI(base_url=url, api_key=service.key, max_retries=0) as client:
        yield client


def says(upstream: Upstream, text: str) -> None:
    choice = {"message": {"content": text}, "finish_reason": "stop"}
    body = json.dumps({"choices": [choice]}).encode()
    upstream.answer = lambda _: json_answer(body)


def chunk(delta: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps({"choices": [{"delta": delta}]}).encode() + b"\n\n"


def plays(upstream: Upstream, *turns: str | dict[str, str]) -> None:
    """Answer turn by turn: a text, or functions to call with their arguments; streamed if asked."""
    left = list(turns)

    async def answer(request: web.Request) -> web.StreamResponse:
        asked = json.loads(await request.read())
        turn = left.pop(0)
        calls = [
            {"id": f"call_{name}_{len(left)}", "type": "function"}
            | {"function": {"name": name, "arguments": arguments}}
            for name, arguments in (turn.items() if isinstance(turn, dict) else ())
        ]
        message: dict[str, Any] = {"tool_calls": calls} if calls else {"content": turn}
        reason = "tool_calls" if calls else "stop"
        if not asked.get("stream"):
            choice = {"message": message, "finish_reason": reason}
            return await json_answer(json.dumps({"choices": [choice]}).encode())
        for index, call in enumerate(calls):
            call["index"] = index
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        end = {"choices": [{"delta": {}, "finish_reason": reason}]}
        ending = b"data: " + json.dumps(end).encode() + b"\n\n"
        await response.write(chunk(message) + ending + DONE)
        return response

    upstream.answer = answer


async def test_create_and_a_chain(sdk: openai.AsyncOpenAI, upstream: Upstream) -> None:
    says(upstream, "hello")
    first = await sdk.responses.create(model=MODEL, input="hi", instructions="Be brief.")
    assert first.output_text == "hello"
    second = await sdk.responses.create(
        model=MODEL, input="again", previous_response_id=first.id, metadata={"a": "b"}
    )
    assert second.previous_response_id == first.id
    assert [message["content"] for message in upstream.asked[-1]["messages"]] == [  # type: ignore[attr-defined]
        *("hi", "hello", "again"),
    ]
    found = await sdk.responses.retrieve(second.id)
    assert found == second
    items = [item async for item in sdk.responses.input_items.list(second.id, limit=1)]
    assert [item.type for item in items] == ["message"]
    await sdk.responses.delete(second.id)
    with pytest.raises(openai.NotFoundError):
        await sdk.responses.retrieve(second.id)
    # The output of one goes into the next, as its model's `model_dump` says it.
    await sdk.responses.create(
        model=MODEL, input=[*first.output, {"role": "user", "content": "more"}], store=False
    )


async def test_parse(sdk: openai.AsyncOpenAI, upstream: Upstream) -> None:
    says(upstream, '{"sunny":true}')
    parsed = await sdk.responses.parse(model=MODEL, input="?", text_format=Weather)
    assert parsed.output_parsed == Weather(sunny=True)
    form: Any = upstream.asked[-1]["response_format"]
    assert form["json_schema"]["name"] == "Weather"


async def test_stream(sdk: openai.AsyncOpenAI, upstream: Upstream) -> None:
    upstream.stream(ROLE, chunk({"content": '{"sunny":'}), chunk({"content": "true}"}), STOP, DONE)
    async with sdk.responses.stream(model=MODEL, input="?", text_format=Weather) as stream:
        snapshots = [
            event.snapshot async for event in stream if event.type == "response.output_text.delta"
        ]
        final = await stream.get_final_response()
    assert snapshots == ['{"sunny":', '{"sunny":true}']
    assert final.output_parsed == Weather(sunny=True)
    async with sdk.responses.stream(
        response_id=final.id, starting_after=4, text_format=Weather
    ) as again:
        numbers = [event.sequence_number async for event in again]
        assert (await again.get_final_response()).output_parsed == Weather(sunny=True)
    assert numbers[0] == 5


async def test_a_stream_of_calls(sdk: openai.AsyncOpenAI, upstream: Upstream) -> None:
    plays(upstream, {"weather": '{"city":"Seoul"}'})
    tool: Any = openai.pydantic_function_tool(Weather, name="weather")["function"]
    async with sdk.responses.stream(
        model=MODEL, input="?", tools=[{"type": "function", **tool}]
    ) as stream:
        kinds = [event.type async for event in stream]
        final = await stream.get_final_response()
    assert "response.function_call_arguments.delta" in kinds
    (call,) = final.output
    assert (call.type, call.arguments) == ("function_call", '{"city":"Seoul"}')


async def test_a_broken_stream_is_an_event(sdk: openai.AsyncOpenAI, upstream: Upstream) -> None:
    upstream.stream(ROLE, HI)
    stream = await sdk.responses.create(model=MODEL, input="?", stream=True)
    events = [event async for event in stream]
    assert events[-1].type == "response.failed"
    assert events[-1].response.error is not None


async def test_background_and_cancel(sdk: openai.AsyncOpenAI, upstream: Upstream) -> None:
    upstream.stream(HI, hang=True)
    queued = await sdk.responses.create(model=MODEL, input="?", background=True)
    assert queued.status == "queued"
    assert (await sdk.responses.cancel(queued.id)).status == "cancelled"


async def test_conversations(sdk: openai.AsyncOpenAI, upstream: Upstream) -> None:
    says(upstream, "hello")
    made = await sdk.conversations.create(
        metadata={"topic": "x"}, items=[{"role": "user", "content": "before"}]
    )
    await sdk.responses.create(model=MODEL, input="hi", conversation=made.id)
    items = [item async for item in sdk.conversations.items.list(made.id, order="asc", limit=2)]
    assert len(items) == 3
    one = await sdk.conversations.items.retrieve(items[0].id or "", conversation_id=made.id)
    assert one == items[0]
    await sdk.conversations.items.delete(items[0].id or "", conversation_id=made.id)
    await sdk.conversations.items.create(
        made.id, items=[{"type": "function_call_output", "call_id": "c", "output": "x"}]
    )
    changed = await sdk.conversations.update(made.id, metadata={"topic": "y"})
    assert changed.metadata == {"topic": "y"}
    assert (await sdk.conversations.delete(made.id)).deleted


async def test_refusals_are_the_sdks_errors(sdk: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await sdk.responses.create(model=MODEL, input="?", tools=[{"type": "web_search"}])
    assert refused.value.param == "tools[0].type"
    with pytest.raises(openai.NotFoundError):
        await sdk.responses.create(model=MODEL, input="?", previous_response_id="resp_0")


@function_tool
def weather(city: str) -> str:
    """Tell the weather."""
    return f"sunny in {city}"


def agent(sdk: openai.AsyncOpenAI, **more: Any) -> Agent[Any]:
    model = OpenAIResponsesModel(model=MODEL, openai_client=sdk)
    return Agent(**{"name": "assistant", "instructions": "Be brief.", "model": model, **more})


async def test_the_agents_sdks_tool_loop(sdk: openai.AsyncOpenAI, upstream: Upstream) -> None:
    plays(upstream, {"weather": '{"city":"Seoul"}'}, "It is sunny.")
    result = await Runner.run(agent(sdk, tools=[weather]), "How is the weather?")
    assert result.final_output == "It is sunny."
    *_, call, output = upstream.asked[-1]["messages"]  # type: ignore[misc]
    assert call["tool_calls"][0]["function"]["name"] == "weather"
    assert output["content"] == "sunny in Seoul"


async def test_the_agents_sdks_streamed_loop(sdk: openai.AsyncOpenAI, upstream: Upstream) -> None:
    plays(upstream, {"weather": '{"city":"Seoul"}'}, "It is sunny.")
    result = Runner.run_streamed(agent(sdk, tools=[weather]), "How is the weather?")
    kinds = [event.type async for event in result.stream_events()]
    assert "raw_response_event" in kinds
    assert result.final_output == "It is sunny."
    assert result.context_wrapper.usage.total_tokens > 0


async def test_the_agents_sdks_handoff_and_typed_output(
    sdk: openai.AsyncOpenAI, upstream: Upstream
) -> None:
    expert = agent(sdk, name="expert", output_type=Weather)
    plays(upstream, {"transfer_to_expert": "{}"}, '{"sunny":true}')
    result = await Runner.run(agent(sdk, handoffs=[expert]), "How is the weather?")
    assert result.last_agent is expert
    assert result.final_output == Weather(sunny=True)


async def test_the_agents_sdks_chain(sdk: openai.AsyncOpenAI, upstream: Upstream) -> None:
    plays(upstream, {"weather": '{"city":"Seoul"}'}, "sunny", "warm")
    assistant = agent(sdk, tools=[weather], model_settings=ModelSettings(store=True))
    first = await Runner.run(assistant, "weather?", auto_previous_response_id=True)
    second = await Runner.run(
        assistant, "and the temperature?", previous_response_id=first.last_response_id
    )
    assert second.final_output == "warm"
    roles = [message["role"] for message in upstream.asked[-1]["messages"]]  # type: ignore[attr-defined]
    assert roles == ["system", "user", "assistant", "tool", "assistant", "user"]


async def test_the_agents_sdks_sessions(sdk: openai.AsyncOpenAI, upstream: Upstream) -> None:
    """Its own, and the one that is kept here as a conversation."""
    for session in (SQLiteSession("s"), OpenAIConversationsSession(openai_client=sdk)):
        plays(upstream, {"weather": '{"city":"Seoul"}'}, "sunny", "warm")
        assistant = agent(sdk, tools=[weather])
        await Runner.run(assistant, "weather?", session=session)
        result = await Runner.run(assistant, "and the temperature?", session=session)
        assert result.final_output == "warm"
        roles = [message["role"] for message in upstream.asked[-1]["messages"]]  # type: ignore[attr-defined]
        assert roles == ["system", "user", "assistant", "tool", "assistant", "user"]


async def test_an_agent_of_ours_behind_the_agents_sdk(sdk: openai.AsyncOpenAI) -> None:
    model = OpenAIResponsesModel(model="hr", openai_client=sdk)
    ours = Agent(name="hr", model=model)
    session = OpenAIConversationsSession(openai_client=sdk)
    result = await Runner.run(
        ours, "병가는 며칠인가요?", session=session, run_config=RunConfig(tracing_disabled=True)
    )
    assert "10일" in result.final_output
