"""The real engine's answers fit OpenAI's schema, and the `openai` SDK's calls work on it."""

import json
from typing import Any

import httpx
import openai
import pydantic
import pytest
from openai_schema import faults

CHAT = "/v1/chat/completions"
MESSAGES = [{"role": "user", "content": "hello"}]
ASKED: dict[str, Any] = {"model": "tiny", "messages": MESSAGES, "max_tokens": 8, "temperature": 0}
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"sunny": {"type": "boolean"}},
            "required": ["sunny"],
            "additionalProperties": False,
        },
    },
}
TOOLS: dict[str, Any] = {
    "tools": [WEATHER],
    "tool_choice": {"type": "function", "function": {"name": "weather"}},
    "max_tokens": 200,
}


IMAGE = {"url": "data:image/png;base64,iVBORw0KGgoAAAAA"}
BROKEN_CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "no json"}}


def json_form(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}


class Weather(pydantic.BaseModel):
    sunny: bool


async def ask(http: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    answer = await http.post(CHAT, json=ASKED | fields)
    assert answer.status_code == 200, answer.text
    assert not faults(answer.json(), "CreateChatCompletionResponse")
    return answer.json()


async def stream(http: httpx.AsyncClient, path: str = CHAT, **fields: Any) -> list[dict[str, Any]]:
    answer = await http.post(path, json=fields | {"stream": True})
    *events, done = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    assert done == "[DONE]", answer.text
    return [json.loads(event) for event in events]


async def stream_chat(http: httpx.AsyncClient, **fields: Any) -> list[dict[str, Any]]:
    chunks = await stream(http, **ASKED | fields)
    assert not [fault for c in chunks for fault in faults(c, "CreateChatCompletionStreamResponse")]
    return chunks


async def test_a_completion(engine_http: httpx.AsyncClient) -> None:
    answer = await ask(engine_http)
    (choice,) = answer["choices"]
    assert choice["finish_reason"] == "length"
    assert choice["message"].keys() == {"role", "content", "refusal"}
    assert answer.keys() <= {
        *("id", "object", "created", "model", "choices", "usage", "system_fingerprint")
    }
    assert answer["usage"]["completion_tokens"] == 8
    assert answer["model"] == "tiny"


async def test_a_stream_tells_its_usage_when_asked_alone(engine_http: httpx.AsyncClient) -> None:
    chunks = await stream_chat(engine_http)
    assert not any("usage" in chunk for chunk in chunks)
    *others, last = await stream_chat(engine_http, stream_options={"include_usage": True})
    assert (last["choices"], last["usage"]["completion_tokens"]) == ([], 8)
    assert all(chunk["usage"] is None for chunk in others)
    allowed = {"id", "object", "created", "model", "choices", "usage", "system_fingerprint"}
    for chunk in others:
        assert chunk.keys() <= allowed
        assert chunk["choices"][0].keys() <= {"index", "delta", "logprobs", "finish_reason"}


async def test_two_answers_with_logprobs(engine_http: httpx.AsyncClient) -> None:
    fields = {"n": 2, "logprobs": True, "top_logprobs": 2, "seed": 7, "temperature": 1}
    answer = await ask(engine_http, **fields)
    assert [choice["index"] for choice in answer["choices"]] == [0, 1]
    for choice in answer["choices"]:
        assert len(choice["logprobs"]["content"]) == 8
        assert len(choice["logprobs"]["content"][0]["top_logprobs"]) == 2
    chunks = await stream_chat(engine_http, n=2, logprobs=True, temperature=1)
    assert {choice["index"] for chunk in chunks for choice in chunk["choices"]} == {0, 1}
    ends = [c for chunk in chunks for c in chunk["choices"] if c["finish_reason"]]
    assert len(ends) == 2


async def test_a_stop_ends_the_answer(engine_http: httpx.AsyncClient) -> None:
    fields = {"seed": 1, "temperature": 1, "max_tokens": 32}
    whole = (await ask(engine_http, **fields))["choices"][0]["message"]["content"]
    stop = whole[len(whole) // 2]
    short = (await ask(engine_http, **fields, stop=[stop]))["choices"][0]
    assert short["finish_reason"] == "stop"
    assert short["message"]["content"] == whole.partition(stop)[0]


async def test_a_tool_call(engine_http: httpx.AsyncClient) -> None:
    # A random model may fill its answer with the white space that the grammar allows.
    for seed in range(20):
        answer = await ask(engine_http, **TOOLS, seed=seed, temperature=1)
        message = answer["choices"][0]["message"]
        if "tool_calls" in message:
            break
    (call,) = message["tool_calls"]
    assert call["function"]["name"] == "weather"
    Weather.model_validate_json(call["function"]["arguments"])


async def test_a_streamed_tool_call(engine_http: httpx.AsyncClient) -> None:
    chunks = await stream_chat(engine_http, **TOOLS)
    parts = [
        call
        for chunk in chunks
        for choice in chunk["choices"]
        for call in choice["delta"].get("tool_calls", ())
    ]
    assert parts[0]["function"]["name"] == "weather"
    assert {part["index"] for part in parts} == {0}


async def test_json_that_fits_a_schema(engine_http: httpx.AsyncClient) -> None:
    form = json_form(WEATHER["function"]["parameters"])
    answer = await ask(engine_http, response_format=form, max_tokens=64)
    Weather.model_validate_json(answer["choices"][0]["message"]["content"])


async def test_fields_an_engine_has_no_use_for(engine_http: httpx.AsyncClient) -> None:
    fields = {"user": "u", "store": False, "metadata": {"a": "b"}, "service_tier": "auto"}
    await ask(engine_http, **fields, top_k=5, seed=None, tools=None)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"chat_template": "{{ 1 }}"}, "chat_template"),
        ({"cache_salt": "x"}, "cache_salt"),
        ({"n": 9}, "n"),
        ({"top_k": 10**9}, "top_k"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages[0].content[0].image_url",
        ),
    ],
)
async def test_what_an_engine_is_not_sent(
    engine_http: httpx.AsyncClient, fields: dict[str, Any], param: str
) -> None:
    answer = await engine_http.post(CHAT, json=ASKED | fields)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param


HOSTILE: list[dict[str, Any]] = [
    {"min_tokens": 5, "stop_token_ids": [2**31 - 1]},
    {"logit_bias": {"999999999": 100}},
    {"allowed_token_ids": [2**31 - 1]},
    {"bad_words": ["\U0001f600" * 100]},
    {"structured_outputs": {"regex": "(((("}},
    {"response_format": json_form({"type": "no"})},
    {"response_format": json_form({"$ref": "#"})},
    {"response_format": json_form({"$ref": "#/nothing"})},
    {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": IMAGE}]}]},
    {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "no"}}}]},
    {"messages": [{"role": "assistant", "tool_calls": [BROKEN_CALL]}]},
    {"messages": [{"role": "tool", "content": "x", "tool_call_id": "no such"}]},
    {"top_logprobs": 20},
    {"min_tokens": 9},
    {"continue_final_message": True},
]


@pytest.mark.parametrize("fields", HOSTILE)
async def test_hostile_requests_leave_the_engine_alive(
    engine_http: httpx.AsyncClient, fields: dict[str, Any]
) -> None:
    answer = await engine_http.post(CHAT, json=ASKED | fields)
    assert answer.status_code in (200, 400), (answer.status_code, answer.text)
    await ask(engine_http)


async def test_text_completions(engine_http: httpx.AsyncClient) -> None:
    asked = {"model": "tiny", "prompt": ["a", "b"], "max_tokens": 4, "logprobs": 1, "echo": True}
    answer = await engine_http.post("/v1/completions", json=asked)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    for choice in body["choices"]:
        # The first token has no probability; OpenAI's API sends null there too.
        for values in (choice["logprobs"]["token_logprobs"], choice["logprobs"]["top_logprobs"]):
            assert values.pop(0) is None
    assert not faults(body, "CreateCompletionResponse")
    assert [choice["index"] for choice in body["choices"]] == [0, 1]
    tokens = asked | {"prompt": [1, 2, 3], "echo": False, "logprobs": None}
    assert (await engine_http.post("/v1/completions", json=tokens)).status_code == 200
    chunks = await stream(engine_http, "/v1/completions", model="tiny", prompt="a", max_tokens=3)
    assert not faults(chunks[-1], "CreateCompletionResponse")
    assert not any("usage" in chunk for chunk in chunks)


async def test_tokens_that_the_model_does_not_have(engine_http: httpx.AsyncClient) -> None:
    asked = {"model": "tiny", "prompt": [2**31 - 1]}
    answer = await engine_http.post("/v1/completions", json=asked)
    assert answer.status_code == 400, answer.text
    assert not faults(answer.json(), "ErrorResponse")


async def test_the_openai_sdk(sdk: openai.AsyncOpenAI) -> None:
    made = await sdk.chat.completions.create(model="tiny", messages=MESSAGES, max_tokens=4)
    assert made.usage is not None
    parsed = await sdk.chat.completions.parse(
        model="tiny", messages=MESSAGES, response_format=Weather, max_tokens=64
    )
    assert isinstance(parsed.choices[0].message.parsed, Weather)
    async with sdk.chat.completions.stream(
        model="tiny", messages=MESSAGES, response_format=Weather, max_tokens=64
    ) as events:
        final = await events.get_final_completion()
    assert isinstance(final.choices[0].message.parsed, Weather)
    text = await sdk.completions.create(model="tiny", prompt="a", max_tokens=4)
    assert text.choices[0].finish_reason == "length"
    with pytest.raises(openai.BadRequestError) as refused:
        await sdk.chat.completions.create(
            model="tiny", messages=MESSAGES, extra_body={"chat_template": "x"}
        )
    assert refused.value.param == "chat_template"
