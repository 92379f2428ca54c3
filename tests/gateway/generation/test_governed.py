import asyncio
import gc
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from govern_support import Noting

from config.scope import TenantScope
from gateway.errors import UpstreamError, UpstreamInterrupted
from gateway.generation.governed import Governed, asked_of
from gateway.generation.metered import Metered
from gateway.generation.target import Completion, Prompt, Stream
from gateway.govern.charge import Asked, Charge
from gateway.openai.usage import TokenUsage

SCOPE = TenantScope("t", "c", frozenset({"inference"}))
PROMPT = Prompt({"messages": [{"role": "user", "content": "hi"}], "max_tokens": 7, "n": 2})


class Rung:
    name, place, context, accepts_unknown = "fake/x", "hosted", None, True

    def __init__(self, fails: Exception | None = None, breaks: Exception | None = None) -> None:
        self._fails = fails
        self._breaks = breaks
        self.usage = TokenUsage(prompt_tokens=3)

    def first_token_s(self, prompt: Prompt) -> float:
        return 0.0

    async def complete(self, prompt: Prompt) -> Completion:
        if self._fails:
            raise self._fails
        return Completion(b"{}", self.name, usage=self.usage)

    async def stream(self, prompt: Prompt) -> Stream:
        if self._fails:
            raise self._fails
        return Stream(self._payloads(), self.name, usage=self.usage)

    async def _payloads(self) -> AsyncGenerator[bytes, None]:
        yield b"1"
        if self._breaks:
            raise self._breaks
        self.usage.completion_tokens += 5
        yield b"2"


def governed(rung: Any) -> tuple[Governed, Noting]:
    governor = Noting()
    return Governed(Metered(rung), SCOPE, governor), governor


async def test_a_completion_is_settled_with_what_it_took() -> None:
    target, governor = governed(Rung())
    await target.complete(PROMPT)
    (charge,) = governor.settled
    assert charge.ending == "completed"
    assert charge.asked == Asked("chat", "fake/x", 32, 7, 2)
    assert [(a.target, a.usage.prompt_tokens) for a in charge.attempts] == [("fake/x", 3)]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_failure_is_settled(stream: bool) -> None:
    target, governor = governed(Rung(fails=UpstreamError("no", code="upstream_unreachable")))
    with pytest.raises(UpstreamError):
        await (target.stream(PROMPT) if stream else target.complete(PROMPT))
    assert [charge.ending for charge in governor.settled] == ["upstream_unreachable"]


async def test_a_stream_is_settled_when_it_is_closed() -> None:
    target, governor = governed(Rung())
    stream = await target.stream(PROMPT)
    assert [payload async for payload in stream.payloads] == [b"1", b"2"]
    assert not governor.settled
    await stream.payloads.aclose()
    await stream.payloads.aclose()
    (charge,) = governor.settled
    assert charge.ending == "completed"
    assert charge.attempts[0].usage.completion_tokens == 5
    assert charge.first_token_at is not None


async def test_a_stream_that_breaks_off_says_why() -> None:
    broken = UpstreamInterrupted("off", code="upstream_interrupted")
    target, governor = governed(Rung(breaks=broken))
    stream = await target.stream(PROMPT)
    with pytest.raises(UpstreamInterrupted):
        async for _ in stream.payloads:
            pass
    await stream.payloads.aclose()
    assert [charge.ending for charge in governor.settled] == ["upstream_interrupted"]


async def test_a_stream_that_is_left_is_settled() -> None:
    target, governor = governed(Rung())
    stream = await target.stream(PROMPT)
    await anext(stream.payloads)
    await stream.payloads.aclose()
    assert [charge.ending for charge in governor.settled] == ["client_gone"]


async def test_a_stream_that_nobody_reads_is_settled() -> None:
    target, governor = governed(Rung())
    stream = await target.stream(PROMPT)
    del stream
    gc.collect()
    await governor.close()
    assert [charge.ending for charge in governor.settled] == ["client_gone"]


async def test_who_is_cancelled_while_settling_leaves_it_running() -> None:
    target, governor = governed(Rung())
    entered, going_on = asyncio.Event(), asyncio.Event()

    class Slow:
        waits = True

        def open(self, charge: Charge) -> None:
            pass

        async def close(self, charge: Charge) -> None:
            entered.set()
            await going_on.wait()

    governor._ledger = Slow()
    task = asyncio.create_task(target.complete(PROMPT))
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    going_on.set()
    await governor.close()
    assert [charge.ending for charge in governor.settled] == ["completed"]


async def test_a_part_of_a_larger_request_is_settled_by_that() -> None:
    target, governor = governed(Rung())
    charge = Charge(SCOPE, Asked("agent", "hr"))
    prompt = Prompt(PROMPT.fields, charge=charge)
    await target.complete(prompt)
    await (await target.stream(prompt)).payloads.aclose()
    assert [attempt.target for attempt in charge.attempts] == ["fake/x", "fake/x"]
    assert not governor.settled


def test_what_a_prompt_asks_for() -> None:
    fields = {"messages": [], "max_completion_tokens": 9, "max_tokens": 5}
    assert asked_of(Prompt(fields), "m", stream=True) == Asked("chat", "m", 2, 9, 1, stream=True)


@pytest.mark.parametrize("stream", [False, True])
async def test_of_two_limits_the_smaller_counts_and_is_all_that_a_target_sees(
    *, stream: bool
) -> None:
    seen: list[Any] = []

    class Seeing(Rung):
        async def complete(self, prompt: Prompt) -> Completion:
            seen.append(prompt.fields)
            return await super().complete(prompt)

        async def stream(self, prompt: Prompt) -> Stream:
            seen.append(prompt.fields)
            return await super().stream(prompt)

    target, _ = governed(Seeing())
    both = Prompt({**PROMPT.fields, "max_tokens": 10, "max_completion_tokens": 2000})
    if stream:
        await (await target.stream(both)).payloads.aclose()
    else:
        await target.complete(both)
    ((asked,),) = [seen]
    assert (asked["max_tokens"], asked["max_completion_tokens"]) == (10, 10)
