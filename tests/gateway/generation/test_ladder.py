"""Moving on, and not moving on."""

import contextlib
import gc
import weakref
from collections import Counter
from collections.abc import AsyncGenerator
from typing import Any, Literal

import pytest
from msgspec.structs import replace

from gateway.errors import (
    ContextOverflow,
    GatewayError,
    InvalidRequest,
    Overloaded,
    Unavailable,
    UpstreamError,
    UpstreamInterrupted,
    UpstreamRefused,
    UpstreamTimeout,
)
from gateway.generation import ladder as ladder_module
from gateway.generation.ladder import Ladder, Policy
from gateway.generation.target import Completion, Prompt, Stream

PROMPT = Prompt({})
LOCAL = Prompt({}, local_only=True)
TOO_LONG = ContextOverflow(400, "too long", param="messages", code="context_length_exceeded")


class _Rung:
    def __init__(
        self,
        name: str,
        *errors: GatewayError,
        place: Literal["here", "engine", "hosted"] = "hosted",
        context: int | None = None,
        expected_s: float = 0.0,
    ) -> None:
        self.name = name
        self.place: Literal["here", "engine", "hosted"] = place
        self.accepts_unknown = place != "engine"
        self.context = context
        self.errors = list(errors)
        self.expected_s = expected_s
        self.asked: list[Prompt] = []

    def first_token_s(self, prompt: Prompt) -> float:
        return self.expected_s

    async def complete(self, prompt: Prompt) -> Completion:
        self.asked.append(prompt)
        if self.errors:
            raise self.errors[0] if len(self.errors) == 1 else self.errors.pop(0)
        return Completion(b"{}", self.name)

    async def stream(self, prompt: Prompt) -> Stream:
        await self.complete(prompt)

        async def payloads() -> AsyncGenerator[bytes, None]:
            yield b"{}"

        return Stream(payloads(), self.name)


@pytest.fixture(autouse=True)
def _no_back_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ladder_module, "_BACK_OFF_S", (0.0, 0.0))


async def test_the_first_rung_answers() -> None:
    first, second = _Rung("a"), _Rung("b")
    completion = await Ladder("x", [first, second]).complete(PROMPT)
    assert (completion.target, completion.attempts, completion.reason) == ("a", 1, None)
    assert not second.asked


@pytest.mark.parametrize(
    ("error", "attempts"),
    [
        (UpstreamError("down", code="upstream_unreachable"), 2),
        (UpstreamTimeout("late", code="upstream_timeout"), 2),
        (Overloaded("full", code="upstream_rate_limit"), 2),
        (TOO_LONG, 2),
        (Unavailable("busy", code="queue_full"), 1),
    ],
)
async def test_a_failing_rung_is_passed(error: GatewayError, attempts: int) -> None:
    ladder = Ladder("x", [_Rung("a", error), _Rung("b")])
    completion, stream = await ladder.complete(PROMPT), await ladder.stream(PROMPT)
    for answer in (completion, stream):
        assert (answer.target, answer.attempts) == ("b", attempts)
        assert answer.reason == f"a: {error.code}"


async def test_the_callers_own_fault_is_not_tried_elsewhere() -> None:
    second = _Rung("b")
    refused = UpstreamRefused(400, "bad temperature", param="temperature", code=None)
    with pytest.raises(UpstreamRefused):
        await Ladder("x", [_Rung("a", refused), second]).complete(PROMPT)
    assert not second.asked


async def test_when_all_fail_the_first_upstreams_failure_is_the_answer() -> None:
    here = _Rung("extractive", InvalidRequest("no model"), place="here")
    with pytest.raises(UpstreamError, match="down"):
        await Ladder("x", [_Rung("a", UpstreamError("down")), here]).complete(PROMPT)
    with pytest.raises(UpstreamError, match="down"):
        await Ladder("x", [here, _Rung("a", UpstreamError("down"))]).complete(PROMPT)


async def test_what_failed_in_passing_is_asked_once_more() -> None:
    shaky = _Rung("a", UpstreamInterrupted("broke", code="upstream_interrupted"))
    with pytest.raises(UpstreamInterrupted):
        await Ladder("x", [shaky]).complete(PROMPT)
    assert len(shaky.asked) == 2
    limited = _Rung("a", Overloaded("full", code="upstream_rate_limit"))
    with pytest.raises(Overloaded):
        await Ladder("x", [limited]).complete(PROMPT)
    assert len(limited.asked) == 1


async def test_a_too_long_prompt_goes_to_a_longer_model_only() -> None:
    rungs = [
        _Rung("small", TOO_LONG, place="engine", context=1000),
        _Rung("smaller", place="engine", context=500),
        _Rung("larger", place="engine", context=9000),
    ]
    completion = await Ladder("x", rungs).complete(PROMPT)
    assert (completion.target, completion.attempts) == ("larger", 2)
    assert not rungs[1].asked
    with pytest.raises(ContextOverflow):
        await Ladder("x", rungs[:2]).complete(PROMPT)


async def test_retries_are_a_fifth_of_the_requests() -> None:
    first = _Rung("a", UpstreamTimeout("late", code="upstream_timeout"))
    second = _Rung("b")
    ladder = Ladder("x", [first, second])
    for _ in range(100):
        try:
            await ladder.complete(PROMPT)
        except UpstreamTimeout:
            continue
    assert len(first.asked) == 100
    assert 18 <= len(second.asked) <= 22


async def test_passing_what_is_not_asked_costs_nothing() -> None:
    resting = _Rung("a", Unavailable("rests", code="target_rests"))
    ladder = Ladder("x", [resting, _Rung("b")])
    answers = [await ladder.complete(PROMPT) for _ in range(50)]
    assert {answer.target for answer in answers} == {"b"}


async def test_quotes_need_no_budget() -> None:
    down = _Rung("a", UpstreamTimeout("late", code="upstream_timeout"))
    ladder = Ladder("x", [down, _Rung("extractive", place="here")])
    answers = [await ladder.complete(PROMPT) for _ in range(50)]
    assert {answer.target for answer in answers} == {"extractive"}


async def test_a_slow_engine_is_passed_before_it_hurts() -> None:
    engine = _Rung("engine/q", place="engine", expected_s=3.0)
    ladder = Ladder("x", [engine, _Rung("b")], Policy(first_token_s=2.0))
    completion = await ladder.complete(PROMPT)
    assert (completion.target, completion.attempts) == ("b", 1)
    assert completion.reason == "engine/q: slow_first_token"
    engine.expected_s = 1.0
    assert (await ladder.complete(PROMPT)).target == "engine/q"


async def test_a_slow_engine_is_better_than_none() -> None:
    engine = _Rung("engine/q", place="engine", expected_s=3.0)
    rungs = [engine, _Rung("b", Overloaded("full", code="upstream_rate_limit"))]
    completion = await Ladder("x", rungs, Policy(first_token_s=2.0)).complete(PROMPT)
    assert completion.target == "engine/q"


@pytest.mark.parametrize(
    ("policy", "prompt"),
    [(Policy(local_only=True, first_token_s=1.0), PROMPT), (Policy(first_token_s=1.0), LOCAL)],
)
async def test_what_must_stay_never_leaves(policy: Policy, prompt: Prompt) -> None:
    hosted = _Rung("b")
    busy = Unavailable("busy", code="queue_full", headers={"retry-after": "1"})
    engine = _Rung("engine/q", place="engine", expected_s=9.0)
    assert (await Ladder("x", [engine, hosted], policy).complete(prompt)).target == "engine/q"
    engine.errors = [busy]
    with pytest.raises(Unavailable):
        await Ladder("x", [engine, hosted], policy).stream(prompt)
    engine.errors = [UpstreamError("down", code="upstream_unreachable")]
    with pytest.raises(Unavailable) as away:
        await Ladder("x", [engine, hosted], policy).stream(prompt)
    assert "retry-after" in away.value.headers
    with pytest.raises(InvalidRequest) as caught:
        await Ladder("x", [hosted], policy).complete(prompt)
    assert caught.value.code == "no_local_target"
    assert not hosted.asked


async def test_weights_share_the_requests_and_stick_to_a_session() -> None:
    rungs = [_Rung("a"), _Rung("canary"), _Rung("last")]
    ladder = Ladder("x", rungs, Policy(weights=(9.0, 1.0, None)))

    async def ask(session: str | None) -> str:
        return (await ladder.complete(replace(PROMPT, affinity=session))).target

    served = Counter([await ask(f"session-{i}") for i in range(500)])
    assert served["last"] == 0
    assert 25 <= served["canary"] <= 80
    assert len({await ask("one") for _ in range(20)}) == 1
    assert len({await ask(None) for _ in range(500)}) == 2


async def test_the_others_follow_a_canary_that_fails() -> None:
    rungs = [_Rung("a"), _Rung("canary", Unavailable("rests", code="target_rests"))]
    ladder = Ladder("x", rungs, Policy(weights=(0.001, 1000.0)))
    assert (await ladder.complete(PROMPT)).target == "a"


async def test_a_hosted_rung_is_not_sent_what_only_engines_know() -> None:
    fields: dict[str, Any] = {"messages": [], "top_k": 3}
    engine, hosted = _Rung("e", Overloaded("full"), place="engine"), _Rung("h")
    await Ladder("x", [engine, hosted]).complete(Prompt(fields))
    assert engine.asked[0].fields == fields
    assert hosted.asked[0].fields == {"messages": []}
    await Ladder("x", [hosted]).complete(Prompt(fields))
    assert hosted.asked[1].fields == fields


@pytest.mark.parametrize("others", [[_Rung("b")], []])
async def test_failures_are_forgotten_without_a_garbage_collection(others: list[_Rung]) -> None:
    failed: list[weakref.ref[UpstreamError]] = []

    class _Down(_Rung):
        async def complete(self, prompt: Prompt) -> Completion:
            error = UpstreamError("down", code="upstream_timeout")
            failed.append(weakref.ref(error))
            try:
                raise error
            finally:
                del error

    gc.disable()
    try:
        with contextlib.suppress(UpstreamError):
            await Ladder("x", [_Down("a"), *others]).complete(PROMPT)
        assert [error() for error in failed] == [None]
    finally:
        gc.enable()
