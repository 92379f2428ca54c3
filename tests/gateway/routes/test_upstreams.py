"""Hosted models behind the gateway: `provider/model`, aliases, and agents that use them."""

import asyncio
import json
import time
from typing import Any

import httpx
import pytest
from upstream_support import COMPLETION, DONE, HI, ROLE, STOP, Upstream, json_answer

PATH = "/v1/chat/completions"
ASKED = "병가는 며칠인가요?"
MESSAGES = [{"role": "user", "content": "hello"}]


def _chunks(text: str) -> list[dict]:
    frames = [frame.removeprefix("data: ") for frame in text.split("\n\n") if frame]
    return [json.loads(frame) for frame in frames if frame != "[DONE]"]


@pytest.mark.parametrize("model", ["fake/gpt-x", "smart"])
async def test_a_completion_is_passed_through(
    http: httpx.AsyncClient, upstream: Upstream, model: str
) -> None:
    upstream.answer = lambda _: json_answer(COMPLETION)
    body = {"model": model, "messages": MESSAGES, "a_new_field": {"x": 1.10}, "stream": False}
    answer = await http.post(PATH, json=body)
    assert answer.json()["choices"][0]["message"]["content"] == "hi"
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.headers["x-naru-target"] == "fake/gpt-x"
    assert int(answer.headers["x-naru-attempts"]) >= 1
    reason = answer.headers.get("x-naru-fallback-reason")
    assert (reason is None) == (model == "fake/gpt-x")
    asked = {"model": "gpt-x", "messages": MESSAGES, "a_new_field": {"x": 1.10}}
    assert upstream.asked[-1] == asked
    assert upstream.headers[-1]["Authorization"] == "Bearer sk-upstream"


async def test_an_uploaded_file_is_sent_in_the_place_of_its_id(
    http: httpx.AsyncClient, upstream: Upstream
) -> None:
    upstream.answer = lambda _: json_answer(COMPLETION)
    upload = {"file": ("a.txt", b"annual leave", "text/plain")}
    file = (await http.post("/v1/files", files=upload)).json()["id"]
    answer = await http.post(PATH, json=_naming(file))
    assert answer.status_code == 200, answer.text
    url = "data:text/plain;base64,YW5udWFsIGxlYXZl"
    sent = {"type": "file", "file": {"filename": "a.txt", "file_data": url}}
    assert upstream.asked[-1]["messages"] == [{"role": "user", "content": [sent]}]


async def test_no_callers_file_id_reaches_the_operators_account(
    http: httpx.AsyncClient,
    stranger: httpx.AsyncClient,
    reader: httpx.AsyncClient,
    upstream: Upstream,
) -> None:
    before = len(upstream.asked)
    file = (await http.post("/v1/files", files={"file": ("a.txt", b"x")})).json()["id"]
    for caller, named in ((http, "file-operators-own"), (stranger, file)):
        answer = await caller.post(PATH, json=_naming(named))
        assert answer.status_code == 404
        assert answer.json()["error"]["param"] == "messages[0].content[0].file.file_id"
    refused = await reader.post(PATH, json=_naming(file))
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "insufficient_scope")
    both = _naming(file)
    both["messages"][0]["content"][0]["file"]["file_data"] = "data:text/plain;base64,eA=="
    assert (await http.post(PATH, json=both)).status_code == 400
    assert len(upstream.asked) == before


def _naming(file_id: str) -> dict[str, Any]:
    content = [{"type": "file", "file": {"file_id": file_id}}]
    return {"model": "fake/gpt-x", "messages": [{"role": "user", "content": content}]}


async def test_a_stream_is_passed_through(http: httpx.AsyncClient, upstream: Upstream) -> None:
    upstream.stream(ROLE, HI, STOP, DONE)
    body = {"model": "smart", "messages": MESSAGES, "stream": True}
    answer = await http.post(PATH, json=body)
    deltas = [chunk["choices"][0]["delta"] for chunk in _chunks(answer.text)]
    assert deltas == [{"role": "assistant", "content": ""}, {"content": "hi"}, {}]
    assert answer.text.endswith("data: [DONE]\n\n")
    assert answer.headers["x-naru-target"] == "fake/gpt-x"
    assert "down/x" in answer.headers["x-naru-fallback-reason"]


async def test_usage_is_told_once_when_it_is_asked_for(
    http: httpx.AsyncClient, upstream: Upstream
) -> None:
    told = b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4}}\n\n'
    body = {"model": "fake/gpt-x", "messages": MESSAGES, "stream": True}
    asked = body | {"stream_options": {"include_usage": True}}
    for frames, counts in (((told,), (9, 4)), ((), None)):
        upstream.stream(ROLE, HI, STOP, *frames, DONE)
        assert not any(
            "usage" in chunk for chunk in _chunks((await http.post(PATH, json=body)).text)
        )
        *others, last = _chunks((await http.post(PATH, json=asked)).text)
        assert [chunk["usage"] for chunk in others] == [None, None, None]
        assert last["choices"] == []
        found = (last["usage"]["prompt_tokens"], last["usage"]["completion_tokens"])
        assert found == counts if counts else all(found)


async def test_a_broken_stream_ends_in_band(http: httpx.AsyncClient, upstream: Upstream) -> None:
    upstream.stream(ROLE, HI)
    body = {"model": "smart", "messages": MESSAGES, "stream": True}
    answer = await http.post(PATH, json=body)
    assert answer.status_code == 200
    *chunks, error = _chunks(answer.text)
    assert chunks[-1]["choices"][0]["delta"] == {"content": "hi"}
    assert error["error"]["code"] == "upstream_interrupted"
    assert "[DONE]" not in answer.text


@pytest.mark.parametrize(
    ("status", "expected"), [(400, 400), (401, 502), (404, 404), (429, 429), (503, 502)]
)
async def test_an_upstreams_refusal(
    http: httpx.AsyncClient, upstream: Upstream, status: int, expected: int
) -> None:
    body = b'{"error":{"message":"no","type":"x","param":"temperature","code":null}}'
    upstream.answer = lambda _: json_answer(body, status, retry_after="7")
    # A model of its own: one that fails rests for a while.
    answer = await http.post(PATH, json={"model": f"fake/status-{status}", "messages": MESSAGES})
    assert answer.status_code == expected
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert answer.headers.get("retry-after") == ("7" if status in (429, 503) else None)


def _says(*texts: str) -> list[bytes]:
    chunks = [{"choices": [{"delta": {"content": text}}]} for text in texts]
    usage = {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 4}}
    frames = [f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks]
    return [ROLE, *frames, STOP, f"data: {json.dumps(usage)}\n\n".encode(), DONE]


async def test_an_agent_on_a_hosted_model(http: httpx.AsyncClient, upstream: Upstream) -> None:
    answer = {"message": {"content": "병가는 10일입니다 [1]. 그리고 [9]."}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 9, "completion_tokens": 4}
    reply = json.dumps({"choices": [answer], "usage": usage}).encode()
    upstream.answer = lambda _: json_answer(reply)
    body = {"message": "병가는 며칠인가요?", "session_id": "clever-1"}
    asked = await http.post("/v1/agents/clever/chat", json=body)
    told = asked.json()
    assert told["response"] == "병가는 10일입니다 [1]. 그리고."
    assert [reference["index"] for reference in told["references"]] == [1]
    assert told["model"] == "fake/gpt-x"
    assert asked.headers["x-naru-target"] == "fake/gpt-x"
    assert "down/x" in asked.headers["x-naru-fallback-reason"]
    assert told["usage"] == {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
    system, question = upstream.asked[-1]["messages"]
    assert "병가" not in system["content"]
    assert (system["role"], question["role"]) == ("system", "user")
    assert "병가는 연간 10일까지" in question["content"]
    assert question["content"].endswith("</passage>\n\n병가는 며칠인가요?")
    await http.post("/v1/agents/clever/chat", json=body)
    roles = [message["role"] for message in upstream.asked[-1]["messages"]]
    assert roles == ["system", "user", "assistant", "user"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_nul_character_of_a_model_loses_no_turn(
    http: httpx.AsyncClient, upstream: Upstream, *, stream: bool
) -> None:
    upstream.stream(*_says("ten\0 ", "\0days"))
    if not stream:
        choice = {"message": {"content": "ten\0 \0days"}, "finish_reason": "stop"}
        reply = json.dumps({"choices": [choice]}).encode()
        upstream.answer = lambda _: json_answer(reply)
    session = f"nul-{stream}"
    body = {"message": "병가는 며칠인가요?", "session_id": session, "stream": stream}
    answer = await http.post("/v1/agents/clever/chat", json=body)
    assert answer.status_code == 200
    messages = (await http.get(f"/v1/sessions/{session}/messages")).json()["data"]
    assert messages[1]["content"] == "ten days"


async def test_an_agents_model_is_given_the_sampling_fields(
    http: httpx.AsyncClient, upstream: Upstream
) -> None:
    upstream.answer = lambda _: json_answer(COMPLETION)
    sampling = {"temperature": 0.1, "max_tokens": 9, "seed": 3, "service_tier": "auto"}
    ours = {"model": "clever", "store": True, "metadata": {"a": "b"}, "user": "u", "n": 1}
    messages = [{"role": "user", "content": "병가는 며칠인가요?"}]
    await http.post(PATH, json={**ours, **sampling, "messages": messages})
    asked = upstream.asked[-1]
    assert {name: asked[name] for name in sampling} == sampling
    assert set(asked) == {*sampling, "messages", "model"}


async def test_a_callers_system_message_reaches_the_agents_model(
    http: httpx.AsyncClient, upstream: Upstream
) -> None:
    upstream.answer = lambda _: json_answer(COMPLETION)
    messages = [
        {"role": "system", "content": "Answer like a pirate."},
        {"role": "user", "content": "연차 휴가는 며칠인가요?"},
        {"role": "assistant", "content": "15일."},
        {"role": "developer", "content": "Use one sentence."},
        {"role": "user", "content": "병가는 며칠인가요?"},
    ]
    await http.post(PATH, json={"model": "clever", "messages": messages})
    system, *others = upstream.asked[-1]["messages"]
    assert system["content"].startswith("Be brief.\n\nAnswer like a pirate.\n\nUse one sentence.")
    assert [message["role"] for message in others] == ["user", "assistant", "user"]


async def test_a_streaming_agent_renumbers_split_markers(
    http: httpx.AsyncClient, upstream: Upstream
) -> None:
    upstream.stream(*_says("병가는 ", "10일 [", "1", "] 입니다"))
    body = {"message": "병가는 며칠인가요?", "session_id": "clever-2", "stream": True}
    answer = await http.post("/v1/agents/clever/chat", json=body)
    done = next(frame for frame in answer.text.split("\n\n") if frame.startswith("event: done"))
    reply = json.loads(done.split("data: ", 1)[1])["reply"]
    assert reply["response"] == "병가는 10일 [1] 입니다"
    assert reply["usage"]["total_tokens"] == 13


async def test_a_broken_agent_stream_keeps_a_partial_turn(
    http: httpx.AsyncClient, upstream: Upstream
) -> None:
    upstream.stream(ROLE, HI)
    body = {"message": "병가는 며칠인가요?", "session_id": "clever-3", "stream": True}
    answer = await http.post("/v1/agents/clever/chat", json=body)
    last = answer.text.rstrip().split("\n\n")[-1]
    assert last.startswith("event: error\ndata: ")
    assert json.loads(last.split("data: ", 1)[1])["error"]["code"] == "upstream_interrupted"
    messages = (await http.get("/v1/sessions/clever-3/messages")).json()["data"]
    assert [message["status"] for message in messages] == ["partial", "partial"]
    assert messages[1]["content"] == "hi"


async def test_a_caller_that_leaves_ends_the_upstream_request(
    http: httpx.AsyncClient, upstream: Upstream
) -> None:
    upstream.left.clear()
    upstream.stream(HI, hang=True)
    body = {"model": "fake/gpt-x", "messages": MESSAGES, "stream": True}
    async with http.stream("POST", PATH, json=body) as answer:
        await anext(answer.aiter_bytes())
    await upstream.left.wait()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (PATH, {"model": "fake/gpt-x", "messages": MESSAGES}),
        (PATH, {"model": "fake/gpt-x", "messages": MESSAGES, "stream": True}),
        (
            PATH,
            {"model": "clever", "messages": [{"role": "user", "content": "병가는 며칠인가요?"}]},
        ),
        ("/v1/agents/clever/chat", {"message": "병가는 며칠인가요?"}),
        ("/v1/agents/clever/chat", {"message": "병가는 며칠인가요?", "stream": True}),
    ],
)
async def test_who_leaves_before_the_first_byte_ends_the_upstream_request_too(
    http: httpx.AsyncClient, upstream: Upstream, path: str, body: dict
) -> None:
    upstream.left.clear()
    asked = len(upstream.asked)
    upstream.stream(ROLE, hang=True)
    waiting = asyncio.create_task(http.post(path, json=body))
    async with asyncio.timeout(10):
        while len(upstream.asked) == asked:
            await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.wait([waiting])
        began = time.monotonic()
        await upstream.left.wait()
    assert time.monotonic() - began < 1


async def test_any_models_name_fits_into_the_headers(
    http: httpx.AsyncClient, upstream: Upstream
) -> None:
    upstream.answer = lambda _: json_answer(COMPLETION)
    body = {"model": "fake/한글\r\nx-evil: 1", "messages": MESSAGES}
    answer = await http.post(PATH, json=body)
    assert answer.status_code == 200
    assert "x-evil" not in answer.headers
    assert answer.headers["x-naru-target"].startswith("fake/%ED%95%9C")


async def test_a_model_that_says_nothing_is_an_honest_no(
    http: httpx.AsyncClient, upstream: Upstream
) -> None:
    upstream.stream(*_says(""))
    body = {"message": "병가는 며칠인가요?", "stream": True}
    answer = await http.post("/v1/agents/clever/chat", json=body)
    done = next(frame for frame in answer.text.split("\n\n") if frame.startswith("event: done"))
    reply = json.loads(done.split("data: ", 1)[1])["reply"]
    assert reply["answered"] is False
    assert "문서에서 찾을 수 없습니다" in reply["response"]
