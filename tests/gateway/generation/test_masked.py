"""What a hosted API reads of a prompt, and what the caller reads of its answer."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from aiohttp import web
from support import scope_of
from upstream_support import DONE, STOP, Upstream, json_answer, play_upstream

from config.masking import MaskingSettings
from config.targets import ProviderSettings
from gateway.errors import GatewayError, UpstreamInterrupted
from gateway.generation.discreet import Discreet
from gateway.generation.hosted import Hosted
from gateway.generation.http1 import HttpClient
from gateway.generation.ladder import Ladder
from gateway.generation.masked import Masked
from gateway.generation.metered import Metered
from gateway.generation.target import Comment, Prompt, view_chunk
from gateway.govern.charge import Asked, Charge
from gateway.govern.masking.masking import Masking, PiiBlocked

PHONE, CARD = "010-1234-5678", "4111 1111 1111 1111"
SYSTEM = f'<passage n="1">담당자 {PHONE}</passage>'
PROMPT = Prompt(
    {"messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": "누구?"}]},
    tenant="acme",
)


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with play_upstream() as playing:
        yield playing


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    async with HttpClient() as session:
        yield session


def _ladder(http: HttpClient, upstream: Upstream, **settings: object) -> tuple[Discreet, Masking]:
    masking = Masking(MaskingSettings.model_validate(settings))
    provider = ProviderSettings.model_validate({"base_url": upstream.url, "api_key": "sk"})
    rung = Masked(Metered(Hosted(http, "openai", provider, "gpt-x")), masking)
    return Discreet(Ladder("smart", [rung]), scope_of(tenant="acme"), masking), masking


def _sent(upstream: Upstream) -> str:
    return msgspec.json.encode(upstream.asked).decode()


def _echo(upstream: Upstream, *, stream: bool) -> None:
    """Answer with the request's first message, in the smallest parts where streamed."""

    async def answer(_: web.Request) -> web.StreamResponse:
        asked: Any = upstream.asked[-1]
        said = asked["messages"][0]["content"]
        if not stream:
            message = {"role": "assistant", "content": said}
            return await json_answer(msgspec.json.encode({"choices": [{"message": message}]}))
        frames = [msgspec.json.encode({"choices": [{"delta": {"content": c}}]}) for c in said]
        body = b"".join(b"data: " + frame + b"\n\n" for frame in frames) + STOP + DONE
        return web.Response(body=body, content_type="text/event-stream")

    upstream.answer = answer


async def _heard(target: Discreet, prompt: Prompt = PROMPT) -> str:
    stream = await target.stream(prompt)
    return "".join(
        [
            view_chunk(each).content
            async for each in stream.payloads
            if not isinstance(each, Comment)
        ]
    )


async def test_pseudonyms_go_out_and_originals_come_back(
    http: HttpClient, upstream: Upstream
) -> None:
    target, _ = _ladder(http, upstream, egress="pseudonym")
    _echo(upstream, stream=False)
    completion = await target.complete(PROMPT)
    assert PHONE not in _sent(upstream)
    assert "PII_PHONE_" in _sent(upstream)
    assert msgspec.json.decode(completion.body)["choices"][0]["message"]["content"] == SYSTEM


async def test_so_in_a_stream_of_single_characters(http: HttpClient, upstream: Upstream) -> None:
    target, _ = _ladder(http, upstream, egress="pseudonym")
    _echo(upstream, stream=True)
    assert await _heard(target) == SYSTEM
    assert PHONE not in _sent(upstream)


async def test_masks_stay(http: HttpClient, upstream: Upstream) -> None:
    target, _ = _ladder(http, upstream, egress="mask")
    _echo(upstream, stream=True)
    assert await _heard(target) == SYSTEM.replace(PHONE, "[PHONE]")


async def test_what_is_blocked_is_not_sent_and_costs_nothing(
    http: HttpClient, upstream: Upstream
) -> None:
    target, _ = _ladder(http, upstream, egress={"phone": "block"})
    scope = scope_of(tenant="acme")
    charge = Charge(scope, Asked("chat", "smart"))
    for ask in (target.complete, target.stream):
        with pytest.raises(PiiBlocked) as refused:
            await ask(Prompt(PROMPT.fields, tenant="acme", charge=charge))
        assert refused.value.param == "messages[0].content"
    assert upstream.asked == []
    assert charge.attempts == []


async def test_a_rung_of_our_own_may_answer_what_another_must_not_read(
    http: HttpClient, upstream: Upstream
) -> None:
    masking = Masking(MaskingSettings.model_validate({"egress": "block"}))
    provider = ProviderSettings.model_validate({"base_url": upstream.url})
    hosted = Hosted(http, "openai", provider, "gpt-x")
    ours: Any = Hosted(http, "ours", provider, "small")
    ladder = Ladder("smart", [Masked(hosted, masking), ours])
    completion = await Discreet(ladder, scope_of(tenant="acme"), masking).complete(PROMPT)
    assert completion.target == "ours/small"
    assert completion.reason == "openai/gpt-x: pii_blocked"
    assert completion.attempts == 1


async def test_where_masking_fails_nothing_is_sent(
    http: HttpClient, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("gateway.govern.masking.masking.changed", broken)
    target, _ = _ladder(http, upstream, egress="mask")
    for ask in (target.complete, target.stream):
        with pytest.raises(GatewayError) as refused:
            await ask(PROMPT)
        assert (refused.value.status, refused.value.code) == (503, "masking_unavailable")
    assert upstream.asked == []


@pytest.mark.parametrize(
    "settings",
    [
        {"tenants": {"acme": {"egress": "mask"}}},
        {"models": {"smart": {"egress": "mask"}}},
        {"agents": {"hr": {"egress": "mask"}}},
        {"egress": "pseudonym", "models": {"smart": {"egress": "mask"}}},
    ],
)
async def test_tenant_model_and_agent_may_be_stricter(
    http: HttpClient, upstream: Upstream, settings: dict[str, object]
) -> None:
    target, _ = _ladder(http, upstream, **settings)
    await target.complete(Prompt(PROMPT.fields, tenant="acme", agent="hr"))
    assert "[PHONE]" in _sent(upstream)


async def test_who_asks_a_rung_directly_has_the_tenants_policy(
    http: HttpClient, upstream: Upstream
) -> None:
    target, _ = _ladder(http, upstream, tenants={"acme": {"egress": "mask"}})
    ladder: Any = target._ladder
    await ladder.complete(PROMPT)
    assert "[PHONE]" in _sent(upstream)


async def test_answers_are_hidden_from_callers_by_their_own_policy(
    http: HttpClient, upstream: Upstream
) -> None:
    target, _ = _ladder(http, upstream, egress={"phone": "pseudonym"}, answer={"phone": "mask"})
    prompt = Prompt({"messages": [{"role": "user", "content": f"{PHONE} / {CARD}"}]}, tenant="acme")
    _echo(upstream, stream=False)
    body = msgspec.json.decode((await target.complete(prompt)).body)
    assert body["choices"][0]["message"]["content"] == f"[PHONE] / {CARD}"
    _echo(upstream, stream=True)
    assert await _heard(target, prompt) == f"[PHONE] / {CARD}"


async def test_vectors_are_made_of_masks_and_come_as_they_are(
    http: HttpClient, upstream: Upstream
) -> None:
    target, _ = _ladder(http, upstream, egress="pseudonym", answer="mask")
    body = b'{"data":[{"embedding":"AAAAAA==","index":0}],"usage":{"prompt_tokens":1}}'
    upstream.answer = lambda _: json_answer(body)
    completion = await target.complete(Prompt({"input": [f"tel {PHONE}"]}, kind="embeddings"))
    assert upstream.asked[0]["input"] == ["tel [PHONE]"]
    assert b"AAAAAA==" in completion.body


async def test_what_was_held_back_comes_before_a_failure(
    http: HttpClient, upstream: Upstream
) -> None:
    target, _ = _ladder(http, upstream, egress="pseudonym")
    upstream.stream(b'data: {"choices":[{"delta":{"content":"PI"}}]}\n\n')
    payloads = (await target.stream(PROMPT)).payloads
    said = [view_chunk(await anext(aiter(payloads))).content for _ in range(2)]
    assert said == ["", "PI"]
    with pytest.raises(UpstreamInterrupted):
        await anext(aiter(payloads))


async def test_who_leaves_ends_the_upstreams_work(http: HttpClient, upstream: Upstream) -> None:
    target, _ = _ladder(http, upstream, egress="pseudonym", answer="mask")
    upstream.stream(b'data: {"choices":[{"delta":{"content":"hi "}}]}\n\n', hang=True)
    stream = await target.stream(PROMPT)
    assert view_chunk(await anext(aiter(stream.payloads))).content == "hi "
    await stream.payloads.aclose()
    await asyncio.wait_for(upstream.left.wait(), 30)
