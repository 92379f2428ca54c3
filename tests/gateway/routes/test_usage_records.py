"""Every API leaves one usage record per request, whatever its ending."""

import asyncio
import uuid
from typing import Any

import asyncpg
import httpx
import pytest
from gateway_support import Service, client_of
from upstream_support import DONE, HI, ROLE, STOP, Upstream, json_answer

SAID = [{"role": "user", "content": "hello"}]
TOLD = b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4}}\n\n'

SAYS = b'data: {"choices":[{"index":0,"text":"hi","delta":{"content":"hi"}}]}\n\n'
WHOLE = (
    b'{"id":"c","choices":[{"message":{"content":"hi"},"text":"hi","finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":9,"completion_tokens":4}}'
)


async def records(service: Service, request_id: str, count: int = 1) -> list[dict[str, Any]]:
    """The records of a request, which may not be shipped yet."""
    con = await asyncpg.connect(service.database)
    try:
        async with asyncio.timeout(60):
            while True:
                rows = await con.fetch(
                    "SELECT * FROM usage_records WHERE request_id = $1", request_id
                )
                if len(rows) >= count:
                    return [dict(row) for row in rows]
                await asyncio.sleep(0.05)
    finally:
        await con.close()


async def recorded(
    http: httpx.AsyncClient, service: Service, path: str, body: dict[str, Any]
) -> dict[str, Any]:
    """The one record of a request."""
    request_id = uuid.uuid4().hex
    await http.post(path, json=body, headers={"x-request-id": request_id})
    (row,) = await records(service, request_id)
    return row


@pytest.mark.parametrize(
    ("path", "body", "kind"),
    [
        ("/v1/chat/completions", {"messages": SAID}, "chat"),
        ("/v1/completions", {"prompt": "hello"}, "completions"),
        ("/v1/responses", {"input": "hello"}, "responses"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_generation(
    http: httpx.AsyncClient,
    service: Service,
    upstream: Upstream,
    path: str,
    body: dict[str, Any],
    kind: str,
    stream: bool,
) -> None:
    if stream:
        upstream.stream(SAYS, STOP, TOLD, DONE)
    else:
        upstream.answer = lambda _: json_answer(WHOLE)
    row = await recorded(http, service, path, {"model": "smart", "stream": stream, **body})
    assert (row["tenant"], row["client"], row["kind"]) == ("acme", "app", kind)
    assert (row["model"], row["target"], row["ending"]) == ("smart", "fake/gpt-x", "completed")
    assert (row["prompt_tokens"], row["completion_tokens"], row["estimated"]) == (9, 4, False)
    assert "down/x" in row["fallback"]
    assert row["stream"] == stream
    assert row["key"]
    assert (row["first_token_ms"] is not None) == stream


async def test_the_service_s_own_embeddings(http: httpx.AsyncClient, service: Service) -> None:
    body = {"model": "all-MiniLM-L6-v2", "input": ["hello", "world"]}
    row = await recorded(http, service, "/v1/embeddings", body)
    assert (row["kind"], row["target"], row["prompt_tokens"]) == ("embeddings", body["model"], 6)
    assert row["cost"] == 0
    refused = await recorded(http, service, "/v1/embeddings", {**body, "input": "word " * 300})
    assert refused["ending"] == "context_length_exceeded"


async def test_an_answer_that_is_told_again_costs_nothing(
    http: httpx.AsyncClient, service: Service, upstream: Upstream
) -> None:
    upstream.answer = lambda _: json_answer(WHOLE)
    said = [{"role": "user", "content": uuid.uuid4().hex}]
    body = {"model": "remembers", "messages": said}
    first, again = [await recorded(http, service, "/v1/chat/completions", body) for _ in range(2)]
    assert (first["target"], first["cost"]) == ("fake/gpt-x", None)
    assert (again["target"], again["cost"], again["ending"]) == ("", 0, "completed")


async def test_a_failure(http: httpx.AsyncClient, service: Service) -> None:
    body = {"model": "broken", "messages": SAID}
    row = await recorded(http, service, "/v1/chat/completions", body)
    assert (row["ending"], row["prompt_tokens"]) == ("upstream_unreachable", 0)


async def test_a_client_that_leaves(service: Service, upstream: Upstream) -> None:
    upstream.stream(ROLE, HI, hang=True)
    request_id = uuid.uuid4().hex
    body = {"model": "fake/gpt-x", "messages": SAID, "stream": True}
    headers = {"x-request-id": request_id}
    async with (
        client_of(service, service.key) as http,
        http.stream("POST", "/v1/chat/completions", json=body, headers=headers) as answer,
    ):
        async for line in answer.aiter_lines():
            if "hi" in line:
                break
    (row,) = await records(service, request_id)
    assert (row["ending"], row["completion_tokens"], row["estimated"]) == ("client_gone", 1, True)
    assert row["prompt_tokens"] > 0


async def test_a_response_of_the_background(
    http: httpx.AsyncClient, service: Service, upstream: Upstream
) -> None:
    upstream.stream(SAYS, STOP, TOLD, DONE)
    body = {"model": "fake/gpt-x", "input": "hello", "background": True}
    made = (await http.post("/v1/responses", json=body)).json()
    (row,) = await records(service, made["id"])
    assert (row["ending"], row["client"], row["kind"]) == ("completed", "app", "responses")
