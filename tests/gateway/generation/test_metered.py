"""What an answer may take is reserved, said to its target, and kept to."""

import asyncio
import gc
from collections.abc import AsyncGenerator, Callable
from typing import Any

import msgspec
import pytest
from budget_bank import MemoryBank
from support import scope_of

from config.budgets import BudgetSettings
from gateway.errors import (
    BudgetExhausted,
    ModelUnpriced,
    Unavailable,
    UpstreamError,
    UpstreamInterrupted,
    UpstreamRefused,
    UpstreamTimeout,
)
from gateway.generation.allowance import GRACE, Terms, tokens_at_most
from gateway.generation.ladder import Ladder, Policy
from gateway.generation.metered import Metered
from gateway.generation.target import Completion, Prompt, Stream
from gateway.generation.transcript import Transcript
from gateway.govern.budgets import Budgets
from gateway.govern.budgets_lease import Budget
from gateway.govern.charge import Asked, Charge
from gateway.govern.money import Money
from gateway.govern.prices import FREE, Rate
from gateway.openai.usage import TokenUsage

SCOPE = scope_of("acme", "app")
PER_TOKEN = 10**6
RATE = Rate(input=PER_TOKEN, cached=PER_TOKEN // 10, output=10 * PER_TOKEN)
"""A nano-dollar for a token asked, ten for one said."""

MESSAGES = [{"role": "user", "content": "hi"}]


class Fake:
    """A target; `keeps` to the limit it is given, or says `says` tokens whatever that is."""

    context, accepts_unknown = None, True

    def __init__(
        self,
        says: int = 20,
        *,
        keeps: bool = True,
        fails: BaseException | None = None,
        told: Callable[[int], TokenUsage] | None = None,
        name: str = "fake/x",
        place: Any = "hosted",
    ) -> None:
        self.name = name
        self.place = place
        self.says = says
        self.keeps = keeps
        self.fails = fails
        self.told = told
        self.asked: list[dict[str, Any]] = []
        self.closed = 0

    def first_token_s(self, prompt: Prompt) -> float:
        return 0.0

    def _limit(self, prompt: Prompt) -> int:
        self.asked.append(dict(prompt.fields))
        limits = [prompt.fields.get(name) for name in ("max_tokens", "max_completion_tokens")]
        return min([self.says, *(limit for limit in limits if limit is not None and self.keeps)])

    async def complete(self, prompt: Prompt) -> Completion:
        said = self._limit(prompt)
        if self.fails:
            raise self.fails
        return Completion(b"{}", self.name, usage=TokenUsage(5, said, complete=True))

    async def stream(self, prompt: Prompt) -> Stream:
        said = self._limit(prompt)
        if self.fails:
            raise self.fails
        usage = TokenUsage()
        return Stream(self._say(said, usage), self.name, usage=usage)

    async def _say(self, said: int, usage: TokenUsage) -> AsyncGenerator[bytes, None]:
        count = 0
        try:
            for count in range(1, said + 1):
                usage.chunks = count
                if self.told:
                    usage.completion_tokens, usage.prompt_tokens = count, 5
                else:
                    usage.completion_tokens, usage.estimated = count // 4, True
                yield b'{"choices":[{"delta":{"content":"x"}}]}'
        finally:
            self.closed += 1
            usage.prompt_tokens, usage.estimated = 5, not self.told


class Till:
    """A budget, and what is left of it."""

    def __init__(self, amount: int, *more: Budget) -> None:
        self.bank = MemoryBank(Budget("b", "acme", "", "", "day", amount), *more)
        self.budgets = Budgets(self.bank, lambda: self.bank.now)
        self.money = Money(budgets=self.budgets)

    async def open(self) -> "Till":
        await self.budgets.refresh()
        return self

    def rung(self, fake: Any, rate: Rate | None = RATE, **terms: Any) -> Metered:
        return Metered(fake, self.money, Terms(rate, BudgetSettings(answer_tokens=50), **terms))

    @property
    def spent(self) -> int:
        """What is spent or held, once everything is settled."""
        leases = self.budgets._current.values()
        return sum(lease._granted - lease.free for lease in leases)


async def till(amount: int) -> Till:
    return await Till(amount).open()


def prompt(**fields: Any) -> Prompt:
    charge = Charge(SCOPE, Asked("chat", "m"))
    return Prompt({"messages": MESSAGES, **fields}, charge=charge)


def paid(tokens: int, asked: Prompt) -> int:
    """What pays for an answer of so many tokens."""
    return RATE.at_most(tokens_at_most(asked, 0), tokens + GRACE)


async def read(stream: Stream) -> int:
    count = 0
    try:
        async for _ in stream.payloads:
            count += 1
    finally:
        await stream.payloads.aclose()
    return count


async def test_what_an_answer_took_is_settled_exactly() -> None:
    box = await till(10**6)
    asked = prompt(max_tokens=100)
    await box.rung(Fake(20)).complete(asked)
    assert asked.charge
    (attempt,) = asked.charge.attempts
    assert attempt.cost == box.spent == 5 + 20 * 10
    assert attempt.reserved > attempt.cost
    assert len(attempt.bookings) == 1


async def test_cached_tokens_cost_what_they_cost() -> None:
    box = await till(10**6)
    fake = Fake(20)
    completion = Completion(b"{}", "fake/x", usage=TokenUsage(50, 20, 40))

    async def complete(_: Prompt) -> Completion:
        return completion

    fake.complete = complete  # type: ignore[method-assign]
    await box.rung(fake).complete(prompt())
    assert box.spent == 10 + 4 + 200


@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        ({}, {"max_tokens": 30}),
        ({"max_tokens": 100}, {"max_tokens": 30}),
        ({"max_completion_tokens": 100}, {"max_completion_tokens": 30}),
        ({"max_tokens": 90, "max_completion_tokens": 9}, None),
        ({"max_tokens": msgspec.Raw(b"100")}, {"max_tokens": 30}),
    ],
)
async def test_a_target_is_told_what_is_paid_for(
    fields: dict[str, Any], sent: dict[str, int] | None
) -> None:
    asked = prompt(**fields)
    box = await till(paid(30, asked))
    fake = Fake(1000)
    await box.rung(fake).complete(asked)
    limits = {k: v for k, v in fake.asked[0].items() if k.startswith("max")}
    assert limits == (fields if sent is None else sent)
    assert box.spent <= paid(30, asked)


async def test_the_newest_models_are_told_in_their_own_field() -> None:
    fake = Fake()
    await (await till(10**6)).rung(fake, limit="max_completion_tokens").complete(prompt())
    assert fake.asked[0]["max_completion_tokens"] == 50


async def test_several_answers_share_what_is_paid_for() -> None:
    asked = prompt(n=3, max_tokens=100)
    box = await till(RATE.at_most(tokens_at_most(asked, 0), 3 * (30 + GRACE)))
    fake = Fake()
    await box.rung(fake).complete(asked)
    assert fake.asked[0]["max_tokens"] == 30


async def test_a_model_that_ends_by_itself_is_told_nothing_where_all_of_it_is_paid_for() -> None:
    fake = Fake()
    rate = Rate(RATE.input, RATE.cached, RATE.output, longest=40)
    box = await till(10**6)
    await box.rung(fake, rate).complete(prompt())
    assert "max_tokens" not in fake.asked[0]
    asked = prompt()
    box = await till(paid(30, asked))
    await box.rung(fake, rate).complete(asked)
    assert fake.asked[1]["max_tokens"] == 30


async def test_what_does_not_pay_for_one_token_is_refused_before_the_target_is_asked() -> None:
    asked = prompt()
    fake = Fake()
    box = await till(paid(1, asked) - 1)
    with pytest.raises(BudgetExhausted):
        await box.rung(fake).complete(asked)
    assert not fake.asked
    assert asked.charge
    assert not asked.charge.attempts
    await (await till(paid(1, asked))).rung(fake).complete(asked)
    assert fake.asked[0]["max_tokens"] == 1


async def test_a_model_without_a_price_is_refused_to_who_has_a_budget() -> None:
    fake = Fake()
    box = await till(10**6)
    with pytest.raises(ModelUnpriced, match="declare it free"):
        await box.rung(fake, None).complete(prompt())
    other = Prompt(prompt().fields, charge=Charge(scope_of("rival"), Asked("chat", "m")))
    await box.rung(fake, None).complete(other)
    await box.rung(fake, FREE).complete(prompt())
    assert len(fake.asked) == 2
    assert box.spent == 0


async def test_a_free_rung_serves_when_the_others_are_not_paid_for() -> None:
    box = await till(3)
    dear, unpriced = Fake(), Fake(name="fake/y")
    free = Fake(name="engine/e", place="engine")
    rungs = [box.rung(dear), box.rung(unpriced, None), box.rung(free, FREE)]
    completion = await Ladder("m", rungs).complete(prompt())
    assert completion.target == "engine/e"
    assert completion.reason == "fake/x: budget_exhausted, fake/y: model_unpriced"
    with pytest.raises(BudgetExhausted):
        await Ladder("m", [box.rung(dear)]).complete(prompt())


async def test_who_could_have_been_served_is_told_of_the_failure_instead() -> None:
    box = await till(3)
    broken = Fake(name="engine/e", fails=UpstreamRefused(503, "no", param=None, code=None))
    with pytest.raises(UpstreamRefused):
        await Ladder("m", [box.rung(Fake()), box.rung(broken, FREE)]).complete(prompt())


@pytest.mark.parametrize("told", [None, lambda n: n])
async def test_a_stream_that_goes_beyond_its_limit_is_cut(told: Any) -> None:
    asked = prompt(stream=True, max_tokens=30)
    box = await till(paid(30, asked))
    fake = Fake(1000, keeps=False, told=told)
    stream = await box.rung(fake).stream(asked)
    with pytest.raises(BudgetExhausted, match="cut off") as cut:
        await read(stream)
    assert cut.value.code == "budget_exhausted"
    assert fake.closed == 1
    assert asked.charge
    cost = asked.charge.attempts[0].cost
    assert cost == box.spent == 5 + (30 + GRACE + 1) * 10


@pytest.mark.parametrize("told", [None, lambda n: n])
async def test_a_stream_that_keeps_to_its_limit_is_not_cut(told: Any) -> None:
    asked = prompt(max_tokens=100)
    box = await till(paid(30, asked))
    assert await read(await box.rung(Fake(1000, told=told)).stream(asked)) == 30
    assert box.spent == 5 + 30 * 10


async def test_chunks_beyond_the_tokens_that_a_target_tells_are_no_reason_to_cut() -> None:
    asked = prompt(max_tokens=30)
    box = await till(paid(30, asked))
    fake = Fake()
    usage = TokenUsage()

    async def say() -> AsyncGenerator[bytes, None]:
        for count in range(200):
            usage.completion_tokens = 1 + count // 8
            yield b'{"choices":[{"delta":{"content":"x"}}]}'

    async def stream(_: Prompt) -> Stream:
        return Stream(say(), "fake/x", usage=usage)

    fake.stream = stream  # type: ignore[method-assign]
    assert await read(await box.rung(fake).stream(asked)) == 200
    assert box.spent == 25 * 10


def saying(asked: Prompt, words: bytes, last: bytes = b"") -> Fake:
    """Return a target that says the words in a chunk each, as an upstream's are read."""
    fake, usage = Fake(), TokenUsage()
    transcript = Transcript(asked, "x", usage)

    async def say() -> AsyncGenerator[bytes, None]:
        for word in words.split():
            payload = transcript.take(b'{"choices":[{"delta":{"content":"%b"}}]}' % word)
            assert payload
            yield payload
        if last:
            transcript.take(last)

    async def stream(_: Prompt) -> Stream:
        return Stream(say(), "fake/x", usage=usage)

    fake.stream = stream  # type: ignore[method-assign]
    return fake


async def test_long_words_are_no_reason_to_cut_where_tokens_are_told_at_the_end_alone() -> None:
    asked = prompt(max_tokens=30)
    box = await till(paid(30, asked))
    last = b'{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":30}}'
    fake = saying(asked, b"Wissenschaft " * 30, last)
    assert await read(await box.rung(fake).stream(asked)) == 30
    assert box.spent == 5 + 30 * 10


async def test_long_words_cost_no_more_than_is_reserved_where_nobody_tells_their_tokens() -> None:
    asked = prompt(max_tokens=30)
    reserved = paid(30, asked)
    box = await till(10**9)
    stream = await box.rung(saying(asked, b"Wissenschaft " * 30)).stream(asked)
    for _ in range(25):
        await anext(stream.payloads)
    await stream.payloads.aclose()
    assert 25 * 10 <= box.spent <= reserved


async def test_a_stream_that_is_left_is_settled_with_what_it_said() -> None:
    box = await till(10**6)
    asked = prompt()
    fake = Fake(30)
    stream = await box.rung(fake).stream(asked)
    for _ in range(10):
        await anext(stream.payloads)
    await stream.payloads.aclose()
    assert fake.closed == 1
    assert box.spent == 5 + 10 * 10


async def test_a_stream_that_nobody_reads_leaves_nothing_reserved() -> None:
    box = await till(10**6)
    stream = await box.rung(Fake(30)).stream(prompt())
    del stream
    gc.collect()
    assert box.spent == 0


@pytest.mark.parametrize(
    ("error", "whole", "streamed"),
    [
        (UpstreamRefused(400, "no", param=None, code=None), 0, 0),
        (UpstreamError("no", code="upstream_unreachable"), 0, 0),
        (UpstreamError("no", code="upstream_status_500"), 0, 0),
        (UpstreamTimeout("late", code="upstream_timeout"), None, 11),
        (UpstreamInterrupted("off", code="upstream_interrupted"), None, 11),
    ],
)
async def test_a_failure_costs_what_the_target_may_have_done(
    error: Exception, whole: int | None, streamed: int
) -> None:
    for stream in (False, True):
        asked = prompt(max_tokens=30)
        box = await till(10**6)
        rung = box.rung(Fake(fails=error))
        with pytest.raises(UpstreamError):
            await (rung.stream(asked) if stream else rung.complete(asked))
        worst = paid(30, asked) if whole is None else whole
        assert box.spent == (streamed if stream else worst)


@pytest.mark.parametrize("budget", [True, False])
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("error", "place", "read"),
    [
        (UpstreamRefused(400, "no", param=None, code=None), "hosted", False),
        (UpstreamError("no", code="upstream_unreachable"), "engine", False),
        (UpstreamTimeout("late", code="upstream_timeout"), "hosted", True),
        (UpstreamInterrupted("off", code="upstream_interrupted"), "engine", True),
        (asyncio.CancelledError(), "hosted", True),
        (asyncio.CancelledError(), "here", False),
    ],
)
async def test_what_was_cut_off_has_read_the_prompt(
    error: BaseException, place: str, read: bool, stream: bool, budget: bool
) -> None:
    asked, fake = prompt(max_tokens=30), Fake(fails=error, place=place)
    rung = (await till(10**6)).rung(fake) if budget else Metered(fake, None, Terms(RATE))
    with pytest.raises(type(error)):
        await (rung.stream(asked) if stream else rung.complete(asked))
    assert asked.charge is not None
    usage = asked.charge.attempts[-1].usage
    assert (usage.prompt_tokens > 0, usage.completion_tokens) == (read, 0)
    assert usage.estimated is read


@pytest.mark.parametrize("budget", [True, False])
@pytest.mark.parametrize("stream", [True, False])
async def test_a_target_that_rests_was_not_asked(stream: bool, budget: bool) -> None:
    box, asked = await till(10**6), prompt(max_tokens=30)
    rests = Fake(fails=Unavailable("it rests", code="target_rests"))
    rung = box.rung(rests) if budget else Metered(rests, None, Terms(RATE))
    assert asked.charge
    asked.charge.attempt("fake/before", "hosted")
    with pytest.raises(Unavailable):
        await (rung.stream(asked) if stream else rung.complete(asked))
    assert [attempt.target for attempt in asked.charge.attempts] == ["fake/before"]
    assert box.spent == 0


async def test_an_answer_as_a_whole_that_ignored_its_limit_is_settled_with_what_it_took() -> None:
    asked = prompt(max_tokens=30)
    box = await till(paid(30, asked))
    await box.rung(Fake(1000, keeps=False)).complete(asked)
    assert box.spent == 5 + 1000 * 10
    with pytest.raises(BudgetExhausted):
        await box.rung(Fake()).complete(asked)


class Breaks(Fake):
    """Breaks off after what it says."""

    async def _say(self, said: int, usage: TokenUsage) -> AsyncGenerator[bytes, None]:
        async for payload in super()._say(said, usage):
            yield payload
        raise UpstreamInterrupted("off", code="upstream_interrupted")


async def test_an_answer_that_another_goes_on_with_is_paid_for_twice() -> None:
    box = await till(10**6)
    asked = prompt(max_tokens=100)
    goes_on = Fake(20, name="fake/y")
    rungs = [box.rung(Breaks(10)), box.rung(goes_on)]
    stream = await Ladder("m", rungs, Policy(continuation=True)).stream(asked)
    await read(stream)
    assert asked.charge
    assert [attempt.cost for attempt in asked.charge.attempts] == [5 + 100, 5 + 200]
    assert [attempt.failed for attempt in asked.charge.attempts] == [True, False]
    assert asked.charge.fallback == "fake/x: upstream_interrupted"
    assert box.spent == 310
    assert goes_on.asked[0]["max_tokens"] == 90


async def test_an_answer_that_nobody_goes_on_with_failed_at_both() -> None:
    box, asked = await till(10**6), prompt(max_tokens=100)
    fails = Fake(fails=UpstreamTimeout("late", code="upstream_timeout"), name="fake/y")
    rungs = [box.rung(Breaks(10)), box.rung(fails)]
    stream = await Ladder("m", rungs, Policy(continuation=True)).stream(asked)
    with pytest.raises(UpstreamInterrupted):
        await read(stream)
    assert asked.charge
    assert [attempt.failed for attempt in asked.charge.attempts] == [True, True]
    assert asked.charge.fallback is None


async def test_embeddings_cost_what_is_asked() -> None:
    box = await till(10**6)
    fake = Fake(0)
    asked = Prompt({"input": "hi"}, kind="embeddings", charge=prompt().charge)
    await box.rung(fake).complete(asked)
    assert fake.asked == [{"input": "hi"}]
    assert box.spent == 5


async def test_a_gpu_s_seconds_are_paid_for_as_they_are_used() -> None:
    box = await till(10**9)
    fake = Fake(20, place="engine")
    complete = fake.complete

    async def counted(asked: Prompt) -> Completion:
        completion = await complete(asked)
        completion.usage.engine_ns = 3 * 10**8
        return completion

    fake.complete = counted  # type: ignore[method-assign]
    rung = box.rung(fake, Rate(gpu_second=10**6), timeout_ns=600 * 10**9)
    await rung.complete(prompt())
    assert box.spent == 3 * 10**5
    assert "max_tokens" not in fake.asked[0]


async def test_a_gpu_is_stopped_when_its_seconds_are_used_up() -> None:
    asked = prompt()
    box = await till(10**6)
    rung = box.rung(Fake(place="engine"), Rate(gpu_second=10**6), timeout_ns=10**10)
    poor = (await till(10**6 - 1)).rung(Fake(), Rate(gpu_second=10**6), timeout_ns=10**10)
    with pytest.raises(BudgetExhausted):
        await poor.stream(asked)
    stream = await rung.stream(asked)
    payloads: Any = stream.payloads
    payloads._paid.until = 0.0
    with pytest.raises(BudgetExhausted, match="cut off"):
        await read(stream)


def test_a_picture_counts_for_its_size_and_not_for_its_bytes() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:," + "a" * 10**6}}
    asked = Prompt({"messages": [{"role": "user", "content": [picture, picture]}]})
    assert 2_000 < tokens_at_most(asked, 1_000) < 2_500
    raw = Prompt({"messages": msgspec.Raw(msgspec.json.encode(asked.fields["messages"]))})
    assert tokens_at_most(raw, 1_000) == tokens_at_most(asked, 1_000)


@pytest.mark.parametrize(
    ("fields", "choices", "answer"),
    [
        ({"prompt": "a"}, 1, 16),
        ({"prompt": ["a", "b"], "n": 2, "max_tokens": 9}, 4, 9),
        ({"prompt": [1, 2, 3], "best_of": 3}, 3, 16),
        ({"prompt": [[1], [2]]}, 2, 16),
        ({"prompt": "a", "n": "many", "best_of": msgspec.Raw(b"2")}, 2, 16),
        ({"prompt": "a", "n": None, "max_tokens": msgspec.Raw(b"9")}, 1, 9),
    ],
)
def test_how_much_a_plain_completion_says(
    fields: dict[str, Any], choices: int, answer: int
) -> None:
    allowance = Terms(RATE).allowance(RATE, Prompt(fields, kind="completions"), None)
    assert (allowance.choices, allowance.answer_tokens) == (choices, answer)
