"""Chat completions: agents as models, aliases, providers, and the `openai` SDK."""

import json

import httpx
import openai
import pytest
from gateway_support import Service

from gateway.openai.chat_request import ChatRequest

PATH = "/v1/chat/completions"
QUESTION = [{"role": "user", "content": "연차 휴가는 며칠인가요?"}]
TOOL = {"type": "function", "function": {"name": "f"}}


def _events(text: str) -> list[dict]:
    frames = [frame.removeprefix("data: ") for frame in text.split("\n\n") if frame]
    assert frames[-1] == "[DONE]"
    return [json.loads(frame) for frame in frames[:-1]]


async def test_an_agent_is_a_model(http: httpx.AsyncClient) -> None:
    answer = (await http.post(PATH, json={"model": "hr", "messages": QUESTION})).json()
    choice = answer["choices"][0]
    assert "15일" in choice["message"]["content"]
    assert (choice["finish_reason"], answer["object"]) == ("stop", "chat.completion")
    assert answer["model"] == "extractive"
    assert answer["references"][0]["source"] == "handbook.md"
    assert "session_id" not in answer
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0


async def test_a_stream_of_an_agent(http: httpx.AsyncClient) -> None:
    body = {
        "model": "hr",
        "messages": QUESTION,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    answer = await http.post(PATH, json=body)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    *chunks, last, usage = _events(answer.text)
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
    assert "15일" in text
    assert last["choices"][0]["finish_reason"] == "stop"
    assert last["references"][0]["index"] == 1
    assert usage["choices"] == []
    assert usage["usage"]["total_tokens"] > 0
    assert all(chunk["usage"] is None for chunk in [*chunks, last])


async def test_without_include_usage_there_is_none(http: httpx.AsyncClient) -> None:
    body = {"model": "hr", "messages": QUESTION, "stream": True}
    chunks = _events((await http.post(PATH, json=body)).text)
    assert not any("usage" in chunk for chunk in chunks)


async def test_given_messages_are_history(http: httpx.AsyncClient) -> None:
    messages = [
        *QUESTION,
        {"role": "assistant", "content": "연간 15일입니다. [1]"},
        {"role": "user", "content": [{"type": "text", "text": "그럼 3년 차는요?"}]},
    ]
    answer = (await http.post(PATH, json={"model": "hr", "messages": messages})).json()
    assert "16일" in answer["choices"][0]["message"]["content"]


@pytest.mark.parametrize("path", [PATH, "/v1/agents/hr/chat/completions"])
async def test_an_agent_is_asked_for_nothing_that_it_does_not_do(
    http: httpx.AsyncClient, path: str
) -> None:
    nulls = dict.fromkeys(ChatRequest.__struct_fields__)
    nothing = {
        "tools": [],
        "tool_choice": "none",
        "parallel_tool_calls": True,
        "modalities": ["text"],
        "logit_bias": {},
    }
    for fields in (nulls, nothing):
        body = fields | {"model": "hr", "messages": QUESTION}
        answer = await http.post(path, json=body)
        assert answer.status_code == 200, answer.text


async def test_the_openai_sdk(service: Service) -> None:
    async with openai.AsyncOpenAI(base_url=f"{service.url}/v1", api_key=service.key) as client:
        names = [model.id async for model in client.models.list()]
        assert {"hr", "default", "falls-back"} <= set(names)
        assert (await client.models.retrieve("hr")).id == "hr"
        completion = await client.chat.completions.create(model="hr", messages=QUESTION)
        assert "15일" in (completion.choices[0].message.content or "")
        stream = await client.chat.completions.create(
            model="hr", messages=QUESTION, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
        assert chunks[-1].usage is not None
        with pytest.raises(openai.NotFoundError) as missing:
            await client.chat.completions.create(model="nothing", messages=QUESTION)
        assert missing.value.code == "model_not_found"
        with pytest.raises(openai.BadRequestError):
            await client.chat.completions.create(model="hr", messages=QUESTION, n=2)


async def test_a_plain_completion_needs_a_language_model(http: httpx.AsyncClient) -> None:
    answer = await http.post(PATH, json={"model": "default", "messages": QUESTION})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "no_language_model"
    assert "providers" in answer.json()["error"]["message"]


async def test_a_provider_that_is_down(http: httpx.AsyncClient) -> None:
    for stream in (False, True):
        body = {"model": "down/any", "messages": QUESTION, "stream": stream}
        answer = await http.post(PATH, json=body)
        assert answer.status_code == 502
        assert answer.json()["error"]["code"] == "upstream_unreachable"


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"messages": QUESTION}, 400, "model"),
        ({"model": "hr"}, 400, "messages"),
        ({"model": "hr", "messages": []}, 400, "messages"),
        ({"model": "hr", "messages": "x"}, 400, "messages"),
        ({"model": 3, "messages": QUESTION}, 400, "model"),
        ({"model": "nope", "messages": QUESTION}, 404, "model"),
        ({"model": "openai/gpt", "messages": QUESTION}, 404, "model"),
        ({"model": "", "messages": QUESTION}, 404, "model"),
        ({"model": "hr", "messages": QUESTION, "temperature": "hot"}, 400, "temperature"),
        ({"model": "hr", "messages": QUESTION, "n": 2}, 400, "n"),
        ({"model": "hr", "messages": QUESTION, "tools": [TOOL]}, 400, "tools"),
        ({"model": "hr", "messages": QUESTION, "tool_choice": "required"}, 400, "tool_choice"),
        ({"model": "hr", "messages": QUESTION, "verbosity": "low"}, 400, "verbosity"),
        ({"model": "hr", "messages": QUESTION, "top_k": 3}, 400, "top_k"),
        ({"model": "hr", "messages": [{"role": "user"}]}, 400, "messages[0].content"),
        ({"model": "hr", "messages": [{"role": "user", "content": ""}]}, 400, "messages"),
        ({"model": "hr", "messages": [{"role": "assistant", "content": "x"}]}, 400, "messages"),
        ({"model": "hr", "messages": [{"role": "robot", "content": "x"}]}, 400, "messages[0].role"),
        ({"model": "hr", "messages": [3]}, 400, "messages[0]"),
        ({"model": "a\0", "messages": QUESTION}, 400, None),
        (
            {"model": "smart", "messages": QUESTION, "stream_options": {"include_usage": True}},
            400,
            "stream_options",
        ),
        ({"model": "smart", "messages": QUESTION, "top_logprobs": 21}, 400, "top_logprobs"),
    ],
)
async def test_bad_requests(
    http: httpx.AsyncClient, body: dict, status: int, param: str | None
) -> None:
    answer = await http.post(PATH, json=body)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["param"] == param


async def test_a_body_without_a_bottom(http: httpx.AsyncClient) -> None:
    body = b'{"model":"smart","messages":[{"role":"user","content":"hi"}],"audio":'
    answer = await http.post(PATH, content=body + b'{"voice":' + b'{"a":' * 100_000)
    assert answer.status_code == 400
    assert "nested too deep" in answer.json()["error"]["message"]


async def test_remote_images_need_a_listed_host(http: httpx.AsyncClient) -> None:
    image = {"type": "image_url", "image_url": {"url": "https://images.example.com/a.png"}}
    messages = [{"role": "user", "content": [image]}]
    answer = await http.post(PATH, json={"model": "fake/gpt-x", "messages": messages})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "messages[0].content[0].image_url.url"
    assert "media.allowed_hosts" in answer.json()["error"]["message"]


async def test_the_residency_header_says_local_or_any(http: httpx.AsyncClient) -> None:
    body = {"model": "fake/gpt-x", "messages": QUESTION}
    answer = await http.post(PATH, json=body, headers={"x-naru-residency": "home"})
    assert answer.status_code == 400


async def test_an_agent_needs_its_own_scope(reader: httpx.AsyncClient) -> None:
    names = [model["id"] for model in (await reader.get("/v1/models")).json()["data"]]
    assert "hr" not in names
    answer = await reader.post(PATH, json={"model": "hr", "messages": QUESTION})
    assert answer.status_code == 403


async def test_another_tenants_agent_is_unknown(stranger: httpx.AsyncClient) -> None:
    answer = await stranger.post(PATH, json={"model": "hr", "messages": QUESTION})
    assert answer.status_code == 404
    assert (await stranger.get("/v1/models/hr")).status_code == 404
