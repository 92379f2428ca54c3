"""Answers of hosted APIs fit OpenAI's schema, whatever the API leaves out or adds."""

import json
from functools import partial
from typing import Any

import httpx
import pytest
from openai_schema import faults
from upstream_support import DONE, Upstream, json_answer

MESSAGES = [{"role": "user", "content": "hi"}]
CHAT = {"model": "fake/gpt-x", "messages": MESSAGES}
NULLS = {
    "annotations": None,
    "audio": None,
    "function_call": None,
    "tool_calls": None,
    "reasoning": "because",
}
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
TOKEN = {"token": "a", "logprob": -1, "bytes": None, "top_logprobs": []}

WHOLE: dict[str, dict[str, Any]] = {
    "least": {"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]},
    "nulls": {
        "id": "1",
        "created": 1.5,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "hi", **NULLS},
                "logprobs": {"content": [TOKEN]},
                "finish_reason": "eos",
                "stop_reason": None,
            }
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "prompt_tokens_details": None},
        "service_tier": "on_demand",
        "system_fingerprint": None,
        "prompt_logprobs": None,
    },
    "tools": {
        "choices": [
            {
                "message": {"role": "assistant", "tool_calls": [{**CALL, "type": None}]},
                "finish_reason": "tool_use",
            }
        ]
    },
    "refusal": {
        "choices": [
            {
                "message": {"role": "assistant", "content": None, "refusal": "no"},
                "finish_reason": "stop",
            }
        ]
    },
}

STREAMS: dict[str, list[dict[str, Any]]] = {
    "least": [
        {"choices": [{"delta": {"content": "hi"}}]},
        {"choices": [{"finish_reason": "stop"}]},
    ],
    "nulls": [
        {
            "id": "1",
            "choices": [{"index": 0, "delta": {"role": "assistant", **NULLS}, "token_ids": None}],
        },
        {
            "id": "2",
            "choices": [{"index": 0, "delta": {"content": "hi"}, "logprobs": {"content": [TOKEN]}}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1},
        },
        {"id": "3", "choices": [{"index": 0, "delta": {}, "finish_reason": "STOP"}]},
    ],
    "tools": [
        {"choices": [{"delta": {"tool_calls": [CALL]}}]},
        {"choices": [{"delta": {"tool_calls": [{**CALL, "id": "call_2"}]}}]},
        {"choices": [{"delta": {}, "finish_reason": "tool_calls"}]},
    ],
    "two": [
        {"choices": [{"index": n, "delta": {"content": "hi"}} for n in (0, 1)]},
        {"choices": [{"index": n, "delta": {}, "finish_reason": "length"} for n in (0, 1)]},
    ],
}


def frames(chunks: list[dict[str, Any]]) -> list[bytes]:
    return [b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks] + [DONE]


def events(answer: httpx.Response) -> list[dict[str, Any]]:
    found = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    assert found[-1] == "[DONE]", answer.text
    return [json.loads(event) for event in found[:-1]]


@pytest.mark.parametrize("dialect", WHOLE)
async def test_a_chat_completion(http: httpx.AsyncClient, upstream: Upstream, dialect: str) -> None:
    upstream.answer = lambda _: json_answer(json.dumps(WHOLE[dialect]).encode())
    answer = (await http.post("/v1/chat/completions", json=CHAT)).json()
    assert not faults(answer, "CreateChatCompletionResponse")
    assert answer["model"]


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("dialect", STREAMS)
async def test_a_stream(
    http: httpx.AsyncClient, upstream: Upstream, dialect: str, asked: bool
) -> None:
    upstream.stream(*frames(STREAMS[dialect]))
    options = {"stream_options": {"include_usage": True}} if asked else {}
    chunks = events(await http.post("/v1/chat/completions", json=CHAT | {"stream": True} | options))
    assert not [fault for c in chunks for fault in faults(c, "CreateChatCompletionStreamResponse")]
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1
    if asked:
        *others, last = chunks
        assert last["choices"] == []
        assert last["usage"]["total_tokens"] > 0
        assert all(chunk["usage"] is None for chunk in others)
    else:
        assert not any("usage" in chunk for chunk in chunks)


async def test_a_text_completion(http: httpx.AsyncClient, upstream: Upstream) -> None:
    body = {"choices": [{"text": " there", "finish_reason": "length", "prompt_logprobs": None}]}
    upstream.answer = lambda _: json_answer(json.dumps(body).encode())
    asked = {"model": "fake/gpt-x", "prompt": "hi"}
    answer = (await http.post("/v1/completions", json=asked)).json()
    assert not faults(answer, "CreateCompletionResponse")
    assert answer["choices"][0]["text"] == " there"


async def test_a_streamed_text_completion(http: httpx.AsyncClient, upstream: Upstream) -> None:
    ends = [None, "stop"]
    chunks = [{"choices": [{"text": "a", "finish_reason": end, "x": None}]} for end in ends]
    upstream.stream(*frames(chunks))
    asked = {"model": "fake/gpt-x", "prompt": "hi", "stream": True}
    first, last = events(await http.post("/v1/completions", json=asked))
    assert not faults(last, "CreateCompletionResponse")
    # OpenAI's API sends null until the end; its schema has no word for a stream of these.
    assert first["choices"][0].pop("finish_reason") is None
    assert faults(first, "CreateCompletionResponse") == ["$.choices[0].finish_reason is missing"]


async def test_embeddings(http: httpx.AsyncClient, upstream: Upstream) -> None:
    body = {"data": [{"embedding": [0.1, 0.2], "x": 1}], "usage": {"prompt_tokens": 3}}
    upstream.answer = lambda _: json_answer(json.dumps(body).encode())
    asked = {"model": "fake/embed", "input": ["hi"], "dimensions": 2}
    answer = await http.post("/v1/embeddings", json=asked)
    assert not faults(answer.json(), "CreateEmbeddingResponse")
    assert answer.headers["x-naru-target"] == "fake/embed"
    assert upstream.asked[-1] == {"model": "embed", "input": ["hi"], "dimensions": 2}


async def test_errors(
    http: httpx.AsyncClient, nobody: httpx.AsyncClient, upstream: Upstream
) -> None:
    fault = b'{"error":{"message":"too long","type":"BadRequestError","param":null,"code":400}}'
    upstream.answer = lambda _: json_answer(fault, status=400)
    post = partial(http.post, "/v1/chat/completions")
    for status, answer in {
        400: await post(json=CHAT),
        401: await nobody.get("/v1/models"),
        404: await post(json=CHAT | {"model": "none"}),
        405: await http.put("/v1/models"),
        413: await post(content=b" " * 2_000_001),
    }.items():
        assert answer.status_code == status, answer.text
        assert not faults(answer.json(), "ErrorResponse")
