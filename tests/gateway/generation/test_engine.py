"""The engine target against the real vLLM."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import msgspec
import psutil
import pytest
from engine_support import ENGINE, MAX_MODEL_LEN, RunningEngine
from msgspec.structs import replace

from gateway.errors import ContextOverflow, UpstreamInterrupted
from gateway.generation.engine import Engine
from gateway.generation.extractive import Extractive
from gateway.generation.ladder import Ladder, Policy
from gateway.generation.replicas import Replicas, open_engines
from gateway.generation.target import Comment, Prompt, Stream, view_chunk
from rag.testing import InMemoryEmbedder

LONG = 7_000
TOTALS = ("prompt_tokens_total", "generation_tokens_total")


def _prompt(words: str = "hello", **fields: Any) -> Prompt:
    fields = {"messages": [{"role": "user", "content": words}], "ignore_eos": True, **fields}
    return Prompt({"max_tokens": 8, "temperature": 0, **fields}, tenant="acme")


@pytest.fixture
async def replicas(engine: RunningEngine) -> AsyncIterator[Replicas]:
    sockets = {ENGINE: [engine.url]}
    async with open_engines({ENGINE: engine.settings}, sockets, b"k" * 32) as opened:
        yield opened[ENGINE]


@pytest.fixture
def target(replicas: Replicas) -> Engine:
    return Engine(replicas)


async def _counts(engine: RunningEngine) -> dict[str, float]:
    """Return the engine's own counters."""
    connector = aiohttp.UnixConnector(str(engine.socket))
    async with (
        aiohttp.ClientSession(connector=connector) as http,
        http.get("http://engine/metrics") as answer,
    ):
        text = await answer.text()
    found = re.findall(r"^vllm:(\w+)\{[^}]*\} (\S+)$", text, re.MULTILINE)
    return {name: float(value) for name, value in found}


def _busy(counts: dict[str, float]) -> float:
    return counts["num_requests_running"] + counts["num_requests_waiting"]


async def _until(
    engine: RunningEngine, holds: Callable[[dict[str, float]], bool], limit_s: float
) -> float:
    """Return after how many seconds the engine's counters held."""
    since = time.monotonic()
    while not holds(await _counts(engine)):
        assert time.monotonic() - since < limit_s, await _counts(engine)
        await asyncio.sleep(0.02)
    return time.monotonic() - since


async def _text(stream: Stream) -> str:
    return "".join([view_chunk(payload).content async for payload in stream.payloads])


async def test_a_stream_says_what_a_completion_says(target: Engine, engine: RunningEngine) -> None:
    prompt = _prompt()
    before = await _counts(engine)
    completion, stream = await target.complete(prompt), await target.stream(prompt)
    body = msgspec.json.decode(completion.body)
    assert await _text(stream) == body["choices"][0]["message"]["content"]
    assert (completion.target, completion.attempts) == ("engine/tiny", 1)
    told = replace(stream.usage, chunks=0, engine_ns=0)
    assert told == replace(completion.usage, engine_ns=0)
    assert (stream.usage.completion_tokens, stream.usage.complete) == (8, True)
    after = await _counts(engine)
    used = (completion.usage, stream.usage)
    asked, said = (after[name] - before[name] for name in TOTALS)
    assert asked == sum(usage.prompt_tokens for usage in used)
    assert said == sum(usage.completion_tokens for usage in used)


async def test_usage_is_told_once_and_only_when_asked(target: Engine) -> None:
    plain = await target.stream(_prompt())
    assert not any(["usage" in msgspec.json.decode(chunk) async for chunk in plain.payloads])
    stream = await target.stream(replace(_prompt(), include_usage=True))
    *chunks, last = [msgspec.json.decode(chunk) async for chunk in stream.payloads]
    assert {chunk["usage"] for chunk in chunks} == {None}
    assert (last["choices"], last["usage"]["completion_tokens"]) == ([], 8)


async def test_several_answers_with_logprobs(target: Engine) -> None:
    prompt = _prompt(n=2, logprobs=True, top_logprobs=2, seed=1, temperature=1)
    body = msgspec.json.decode((await target.complete(prompt)).body)
    assert [choice["index"] for choice in body["choices"]] == [0, 1]
    assert len(body["choices"][1]["logprobs"]["content"]) == 8
    stream = await target.stream(prompt)
    chunks = [msgspec.json.decode(chunk) async for chunk in stream.payloads]
    ends = [c["index"] for chunk in chunks for c in chunk["choices"] if c["finish_reason"]]
    assert sorted(ends) == [0, 1]
    assert stream.usage.completion_tokens == 16


async def test_text_completions(target: Engine) -> None:
    prompt = Prompt({"prompt": "once upon", "max_tokens": 4, "ignore_eos": True}, "completions")
    body = msgspec.json.decode((await target.complete(prompt)).body)
    assert body["object"] == "text_completion"
    stream = await target.stream(prompt)
    assert len([chunk async for chunk in stream.payloads]) >= 4
    assert stream.usage.completion_tokens == 4


async def test_cached_prefixes_are_shared_within_a_tenant_alone(target: Engine) -> None:
    words = f"{time.time()} " + "the quick brown fox " * 40
    prompt = _prompt(words)
    first, again = await target.complete(prompt), await target.complete(prompt)
    assert first.usage.cached_tokens < again.usage.cached_tokens
    stranger = await target.complete(replace(prompt, tenant="rival"))
    assert stranger.usage.cached_tokens == 0


async def test_an_abandoned_stream_tells_the_last_count(
    target: Engine, engine: RunningEngine
) -> None:
    await _until(engine, lambda counts: _busy(counts) == 0, 60)
    before = await _counts(engine)
    stream = await target.stream(_prompt(max_tokens=LONG))
    for _ in range(20):
        await anext(stream.payloads)
    await stream.payloads.aclose()
    usage = stream.usage
    assert (usage.complete, usage.estimated) == (False, False)
    await _until(engine, lambda counts: _busy(counts) == 0, 5)
    after = await _counts(engine)
    assert after[TOTALS[0]] - before[TOTALS[0]] == usage.prompt_tokens
    # What the engine said after the last chunk we read, until it heard of the end, nobody got.
    assert 19 <= usage.completion_tokens <= after[TOTALS[1]] - before[TOTALS[1]] < LONG


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("phase", ["prefill", "decode"])
async def test_whoever_leaves_ends_the_engines_work(
    target: Engine, engine: RunningEngine, phase: str, *, streaming: bool
) -> None:
    await _until(engine, lambda counts: _busy(counts) == 0, 60)
    words = "the quick brown fox " * (80 if phase == "prefill" else 1)
    prompt = _prompt(words, max_tokens=LONG, n=8, temperature=1)

    async def ask() -> None:
        if streaming:
            stream = await target.stream(prompt)
            try:
                await _text(stream)
            finally:
                await stream.payloads.aclose()
        else:
            await target.complete(prompt)

    asking = asyncio.create_task(ask())
    await _until(engine, lambda counts: _busy(counts) > 0, 60)
    if phase == "decode":
        await asyncio.sleep(0.3)
    asking.cancel()
    await _until(engine, lambda counts: _busy(counts) == 0, 15)
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_whoever_leaves_the_queue_is_forgotten(target: Engine, engine: RunningEngine) -> None:
    asking = [asyncio.create_task(target.stream(_prompt(max_tokens=LONG))) for _ in range(300)]
    await _until(engine, lambda counts: counts["num_requests_waiting"] > 20, 60)
    for task in asking:
        task.cancel()
    opened = await asyncio.gather(*asking, return_exceptions=True)
    for stream in opened:
        if isinstance(stream, Stream):
            await stream.payloads.aclose()
    await _until(engine, lambda counts: _busy(counts) == 0, 15)


async def test_two_hundred_at_once(target: Engine, engine: RunningEngine) -> None:
    before = await _counts(engine)
    streams = [target.stream(_prompt(f"question {i}")) for i in range(100)]
    wholes = [target.complete(_prompt(f"question {i}")) for i in range(100)]
    opened, completions = asyncio.gather(*streams), asyncio.gather(*wholes)
    await asyncio.gather(*[_text(stream) for stream in await opened])
    used = [each.usage for each in [*await opened, *await completions]]
    assert all(usage.complete and usage.completion_tokens == 8 for usage in used)
    after = await _counts(engine)
    assert after[TOTALS[1]] - before[TOTALS[1]] == 1600
    assert after[TOTALS[0]] - before[TOTALS[0]] == sum(usage.prompt_tokens for usage in used)


@pytest.mark.parametrize(
    "prompt", [_prompt("long " * MAX_MODEL_LEN), _prompt(max_tokens=5 * MAX_MODEL_LEN)]
)
async def test_a_context_that_is_too_small_is_told_as_that(target: Engine, prompt: Prompt) -> None:
    assert target.context == MAX_MODEL_LEN
    for ask in (target.complete, target.stream):
        with pytest.raises(ContextOverflow) as caught:
            await ask(prompt)
        assert (caught.value.status, caught.value.code) == (400, "context_length_exceeded")


def _core(engine: RunningEngine) -> psutil.Process:
    """Return vLLM's process that computes."""
    tether = engine.replica.child._process
    assert tether is not None
    family = psutil.Process(tether.pid).children(recursive=True)
    return next(process for process in family if "EngineCore" in " ".join(process.cmdline()))


class _Spare(Extractive):
    """Another target: it tells what it was asked."""

    place = "engine"  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__(InMemoryEmbedder())
        self.asked: list[Prompt] = []

    async def _answer(self, prompt: Prompt) -> str:
        self.asked.append(prompt)
        return "spare words"


async def test_kill_9(mortal_engine: RunningEngine) -> None:
    await mortal_engine.wait_until_up()
    sockets = {ENGINE: [mortal_engine.url]}
    async with open_engines({ENGINE: mortal_engine.settings}, sockets, b"k" * 32) as opened:
        target, spare = Engine(opened[ENGINE]), _Spare()
        ladder = Ladder("x", [target, spare])
        joined = Ladder("y", [target, spare], Policy(continuation=True))
        core = _core(mortal_engine)
        # Long enough to be under way when the core ends.
        long = replace(_prompt(max_tokens=MAX_MODEL_LEN - 50), include_usage=True)
        stream, continued = await asyncio.gather(ladder.stream(long), joined.stream(long))
        core.kill()
        with pytest.raises(UpstreamInterrupted):
            await _text(stream)
        assert not stream.usage.complete
        assert 0 < stream.usage.completion_tokens < MAX_MODEL_LEN - 50
        await _check_continuation(continued, spare)
        again = await ladder.stream(_prompt())
        assert again.target == "extractive"
        assert await _text(again) == "spare words"
        await mortal_engine.wait_until_up()
        async with asyncio.timeout(10):
            while (await ladder.complete(_prompt())).target != "engine/tiny":
                await asyncio.sleep(0.1)


async def _check_continuation(stream: Stream, spare: _Spare) -> None:
    payloads = [payload async for payload in stream.payloads]
    at = next(i for i, payload in enumerate(payloads) if isinstance(payload, Comment))
    said = "".join(view_chunk(payload).content for payload in payloads[:at])
    asked = spare.asked[-1]
    assert asked.continues
    assert asked.fields["messages"][-1] == {"role": "assistant", "content": said}
    chunks = [msgspec.json.decode(payload) for payload in payloads if payload is not payloads[at]]
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert sum("role" in c["delta"] for chunk in chunks for c in chunk["choices"]) == 1
    usage = chunks[-1]["usage"]
    assert usage["continued"] == ["engine/tiny", "extractive"]
    assert usage["completion_tokens"] == stream.usage.completion_tokens > 4
