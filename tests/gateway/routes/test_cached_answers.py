"""An alias that remembers, over HTTP and over two processes."""

import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest
from gateway_support import Service, client_of, replica_of
from upstream_support import COMPLETION, DONE, HI, ROLE, STOP, Upstream, json_answer

PATH = "/v1/chat/completions"


def asked(**more: Any) -> dict[str, Any]:
    return {
        "model": "remembers",
        "messages": [{"role": "user", "content": uuid.uuid4().hex}],
    } | more


async def test_the_same_request_is_answered_once(
    http: httpx.AsyncClient,
    colleague: httpx.AsyncClient,
    stranger: httpx.AsyncClient,
    upstream: Upstream,
) -> None:
    upstream.answer = lambda _: json_answer(COMPLETION)
    body, before = asked(), len(upstream.asked)
    first = await http.post(PATH, json=body)
    assert "x-naru-cache" not in first.headers
    for client in (http, colleague):
        again = await client.post(PATH, json=body)
        assert again.json() == first.json()
        assert (again.headers["x-naru-cache"], again.headers["x-naru-attempts"]) == ("hit", "0")
    assert len(upstream.asked) == before + 1
    theirs = await stranger.post(PATH, json=body)
    assert "x-naru-cache" not in theirs.headers, "another tenant"
    assert len(upstream.asked) == before + 2


async def test_streams_are_told_again_as_streams(
    http: httpx.AsyncClient, upstream: Upstream
) -> None:
    upstream.stream(ROLE, HI, STOP, DONE)
    body, before = asked(stream=True), len(upstream.asked)
    first, again = [await http.post(PATH, json=body) for _ in range(2)]
    assert again.headers["x-naru-cache"] == "hit"
    assert again.text == first.text
    assert again.text.endswith("data: [DONE]\n\n")
    with_usage = body | {"stream_options": {"include_usage": True}}
    assert "x-naru-cache" not in (await http.post(PATH, json=with_usage)).headers
    assert len(upstream.asked) == before + 2


async def test_a_broken_stream_is_not_remembered(
    http: httpx.AsyncClient, upstream: Upstream
) -> None:
    upstream.stream(ROLE, HI)
    body, before = asked(stream=True), len(upstream.asked)
    for _ in range(2):
        assert "upstream_interrupted" in (await http.post(PATH, json=body)).text
    assert len(upstream.asked) >= before + 2


async def test_other_aliases_remember_nothing(http: httpx.AsyncClient, upstream: Upstream) -> None:
    upstream.answer = lambda _: json_answer(COMPLETION)
    body, before = asked(model="fake/gpt-x"), len(upstream.asked)
    for _ in range(2):
        assert "x-naru-cache" not in (await http.post(PATH, json=body)).headers
    assert len(upstream.asked) == before + 2


@pytest.mark.parametrize("stream", [False, True])
async def test_another_process_remembers_too(
    service: Service,
    http: httpx.AsyncClient,
    upstream: Upstream,
    sockets: Path,
    data_dir: Path,
    redis_url: str,
    *,
    stream: bool,
) -> None:
    if stream:
        upstream.stream(ROLE, HI, STOP, DONE)
    else:
        upstream.answer = lambda _: json_answer(COMPLETION)
    body = asked(stream=stream)
    settings = {
        "data_dir": data_dir,
        "redis": {"url": redis_url},
        "providers": {"fake": {"base_url": upstream.url, "api_key": "sk-upstream"}},
        "models": {"remembers": {"targets": ["fake/gpt-x"], "cache_ttl_s": 60}},
    }
    first = await http.post(PATH, json=body)
    async with (
        replica_of(service, sockets, settings) as replica,
        client_of(replica, service.key) as there,
    ):
        again = await there.post(PATH, json=body)
    assert again.headers["x-naru-cache"] == "hit"
    assert again.content == first.content
