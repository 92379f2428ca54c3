"""A hosted target against a local server that plays the upstream, faults included."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest
from aiohttp import web
from msgspec.structs import replace
from upstream_support import DONE, HI, ROLE, STOP, Upstream, json_answer, play_upstream

from config.targets import ProviderSettings
from gateway.errors import (
    GatewayError,
    NotFound,
    Overloaded,
    UpstreamError,
    UpstreamInterrupted,
    UpstreamRefused,
    UpstreamTimeout,
)
from gateway.generation.hosted import Hosted
from gateway.generation.http1 import HttpClient
from gateway.generation.target import ChunkView, Prompt, view_chunk
from gateway.openai.normalise import Kind

PROMPT = Prompt({"messages": [{"role": "user", "content": "hello"}], "top_k": 3})


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with play_upstream() as playing:
        yield playing


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    async with HttpClient() as session:
        yield session


def _hosted(http: HttpClient, upstream: Upstream, **settings: object) -> Hosted:
    values = {"base_url": upstream.url, "api_key": "sk-upstream", **settings}
    return Hosted(http, "openai", ProviderSettings.model_validate(values), "gpt-x")


async def _drain(target: Hosted, prompt: Prompt = PROMPT) -> list[ChunkView]:
    stream = await target.stream(prompt)
    return [view_chunk(payload) async for payload in stream.payloads]


async def test_the_request_is_passed_on_with_model_and_key(
    http: HttpClient, upstream: Upstream
) -> None:
    completion = await _hosted(http, upstream).complete(PROMPT)
    assert b'"content":"hi"' in completion.body
    assert completion.target == "openai/gpt-x"
    assert upstream.asked == [{**PROMPT.fields, "model": "gpt-x"}]
    assert upstream.headers[0]["Authorization"] == "Bearer sk-upstream"


async def test_a_stream_is_relayed_without_its_done(http: HttpClient, upstream: Upstream) -> None:
    upstream.stream(ROLE, HI, STOP, DONE)
    chunks = await _drain(_hosted(http, upstream))
    assert [(chunk.content, chunk.choices[0].finish_reason) for chunk in chunks] == [
        ("", None),
        ("hi", None),
        ("", "stop"),
    ]
    assert upstream.asked[0]["stream"] is True
    assert upstream.asked[0]["stream_options"] == {"include_usage": True}


async def test_an_answer_that_its_server_does_not_end_is_ended(
    http: HttpClient, upstream: Upstream
) -> None:
    second = b'data: {"choices":[{"index":1,"delta":{"content":"ho"}}]}\n\n'
    upstream.stream(ROLE, HI, STOP, second, DONE)
    *_, last = await _drain(_hosted(http, upstream))
    assert [(choice.index, choice.finish_reason) for choice in last.choices] == [(1, "stop")]
    upstream.stream(HI, DONE)
    asked = replace(PROMPT, include_usage=True)
    _, end, usage = await _drain(_hosted(http, upstream), asked)
    assert [choice.finish_reason for choice in end.choices] == ["stop"]
    assert (end.usage, usage.choices) == (None, [])


@pytest.mark.parametrize("kind", ["chat", "completions"])
async def test_an_end_is_of_its_kind(http: HttpClient, upstream: Upstream, kind: Kind) -> None:
    said = b'{"choices":[{"text":"hi"}]}' if kind == "completions" else HI[6:-2]
    upstream.stream(b"data: " + said + b"\n\n", DONE)
    stream = await _hosted(http, upstream).stream(replace(PROMPT, kind=kind))
    *_, end = [msgspec.json.decode(payload) async for payload in stream.payloads]
    (choice,) = end["choices"]
    assert choice["finish_reason"] == "stop"
    assert choice["delta" if kind == "chat" else "text"] in ({}, "")


@pytest.mark.parametrize(
    "frames", [(), (b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":0}}\n\n',)]
)
async def test_a_stream_without_an_answer_is_nonsense(
    http: HttpClient, upstream: Upstream, frames: tuple[bytes, ...]
) -> None:
    upstream.stream(*frames, DONE)
    with pytest.raises(UpstreamError) as caught:
        await _drain(_hosted(http, upstream))
    assert caught.value.code == "upstream_invalid_answer"


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (400, UpstreamRefused, "bad_value"),
        (401, UpstreamError, "upstream_status_401"),
        (404, NotFound, "model_not_found"),
        (429, Overloaded, "upstream_rate_limit"),
        (500, UpstreamError, "upstream_status_500"),
        (302, UpstreamError, "upstream_status_302"),
    ],
)
async def test_statuses(
    http: HttpClient,
    upstream: Upstream,
    status: int,
    kind: type[GatewayError],
    code: str,
) -> None:
    body = b'{"error":{"message":"temperature is bad","param":"temperature","code":"bad_value"}}'
    upstream.answer = lambda _: json_answer(body, status, retry_after="7")
    with pytest.raises(kind) as caught:
        await _hosted(http, upstream).complete(PROMPT)
    assert caught.value.code == code
    if status == 400:
        assert (caught.value.message, caught.value.param) == ("temperature is bad", "temperature")
    if status == 429:
        assert caught.value.headers == {"retry-after": "7"}


@pytest.mark.parametrize(
    ("told", "headers"),
    [
        (
            {"retry_after_ms": "1500"},
            {"retry-after-ms": "1500", "retry-after": "2"},
        ),
        ({"retry_after_ms": "soon"}, {"retry-after-ms": "soon"}),
        ({"retry_after": "7"}, {"retry-after": "7"}),
        ({}, {}),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
async def test_how_long_to_wait_is_told_in_seconds_too(
    http: HttpClient,
    upstream: Upstream,
    told: dict[str, str],
    headers: dict[str, str],
    status: int,
) -> None:
    upstream.answer = lambda _: json_answer(b"{}", status, **told)
    with pytest.raises(GatewayError) as caught:
        await _hosted(http, upstream).complete(PROMPT)
    assert caught.value.headers == headers


@pytest.mark.parametrize("field", ["code", "type"])
async def test_an_account_that_is_used_up_is_not_asked_again(
    http: HttpClient, upstream: Upstream, field: str
) -> None:
    body = msgspec.json.encode({"error": {"message": "pay", field: "insufficient_quota"}})
    upstream.answer = lambda _: json_answer(body, 429)
    with pytest.raises(Overloaded) as caught:
        await _hosted(http, upstream).complete(PROMPT)
    error = caught.value
    assert (error.type, error.code) == ("rate_limit_error", "upstream_insufficient_quota")
    assert error.headers == {"x-should-retry": "false"}


@pytest.mark.parametrize(
    "body",
    [b"<html>", b"[]", b'{"choices":3}', b"", b'{"choices":[{"message":{"content":"\xff"}}]}'],
)
async def test_nonsense_with_status_200(http: HttpClient, upstream: Upstream, body: bytes) -> None:
    upstream.answer = lambda _: json_answer(body)
    with pytest.raises(UpstreamError) as caught:
        await _hosted(http, upstream).complete(PROMPT)
    assert caught.value.code == "upstream_invalid_answer"


async def test_nonsense_in_a_stream(http: HttpClient, upstream: Upstream) -> None:
    upstream.stream(b"data: <html>\n\n")
    with pytest.raises(UpstreamError) as caught:
        await _hosted(http, upstream).stream(PROMPT)
    assert caught.value.code == "upstream_invalid_answer"


@pytest.mark.parametrize("frames", [(), (ROLE,)])
async def test_an_end_before_any_content_can_be_tried_elsewhere(
    http: HttpClient, upstream: Upstream, frames: tuple[bytes, ...]
) -> None:
    upstream.stream(*frames)
    with pytest.raises(UpstreamInterrupted):
        await _hosted(http, upstream).stream(PROMPT)


@pytest.mark.parametrize("last", [b"", b'data: {"error":{"message":"oom"}}\n\n'])
async def test_an_end_after_content_is_an_interruption(
    http: HttpClient, upstream: Upstream, last: bytes
) -> None:
    upstream.stream(ROLE, HI, last)
    stream = await _hosted(http, upstream).stream(PROMPT)
    texts = [view_chunk(await anext(stream.payloads)).content for _ in range(2)]
    assert texts == ["", "hi"]
    with pytest.raises(UpstreamInterrupted):
        await anext(stream.payloads)


async def test_silence_before_and_within_an_answer(http: HttpClient, upstream: Upstream) -> None:
    async def hang(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    upstream.answer = hang
    with pytest.raises(UpstreamTimeout):
        await _hosted(http, upstream, total_timeout_s=0.05).complete(PROMPT)
    with pytest.raises(UpstreamTimeout):
        await _hosted(http, upstream, first_byte_timeout_s=0.05).stream(PROMPT)
    upstream.stream(ROLE, hang=True)
    with pytest.raises(UpstreamTimeout):
        await _hosted(http, upstream, first_byte_timeout_s=0.05).stream(PROMPT)
    upstream.stream(HI, hang=True)
    stream = await _hosted(http, upstream, idle_timeout_s=0.05).stream(PROMPT)
    with pytest.raises(UpstreamTimeout):
        async for _ in stream.payloads:
            pass


async def test_nobody_listens(http: HttpClient, upstream: Upstream) -> None:
    upstream.url = "http://127.0.0.1:9/v1"
    with pytest.raises(UpstreamError) as caught:
        await _hosted(http, upstream).complete(PROMPT)
    assert caught.value.code == "upstream_unreachable"


async def test_leaving_a_stream_ends_the_upstream_request(
    http: HttpClient, upstream: Upstream
) -> None:
    upstream.stream(HI, hang=True)
    stream = await _hosted(http, upstream).stream(PROMPT)
    await anext(stream.payloads)
    await stream.payloads.aclose()
    async with asyncio.timeout(5):
        await upstream.left.wait()
