"""No window of time ever holds more than its limit: in Redis, and in one process."""

import asyncio
import uuid
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from govern_support import CLOCKED, Clock
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from gateway.govern.limits_redis import Counters
from gateway.govern.limits_rules import COUNTING, Limit, Measure
from gateway.govern.limits_script import LEASE_S, open_counting
from gateway.govern.limits_steps import Held
from gateway.govern.limits_window import Here

MOST = 100
MINUTE_MS = 60_000
BUCKET_MS = 500
MEASURES: tuple[Measure, ...] = ("requests_per_minute", "tokens_per_minute")
TIMES = st.sampled_from([1, 499, 500, 2_000, 30_000, 59_500, 60_000, 60_500, 200_000])


@dataclass
class Taken:
    """What the model knows of a reservation; `place` chooses among several."""

    at: int
    amount: int
    held: Held
    renewed: int
    under_way: bool = True
    dead: bool = False


class Windows(RuleBasedStateMachine):
    """Reserves, settles, dies and lets time pass, beside a model that adds everything up."""

    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.redis = open_counting(self.url)
        self.counters = Counters(self.redis, CLOCKED)
        self.clock = Clock(self.redis)
        self.taken: dict[Measure, list[Taken]] = {measure: [] for measure in MEASURES}
        word = uuid.uuid4().hex
        self.limits = {m: Limit("client", "app", m, MOST, f"test:{word}:{m}") for m in MEASURES}
        self.run(self.clock.go(0))

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    def teardown(self) -> None:
        self.run(self.counters.close())
        self.run(self.redis.aclose())
        self.runner.close()

    @rule(measure=st.sampled_from(MEASURES), amount=st.integers(1, 60))
    def reserve(self, measure: Measure, amount: int) -> None:
        self.forget_the_dead()
        demands = [(self.limits[measure], amount)]
        held = Held(uuid.uuid4().hex, demands, None)
        outcome = self.run(self.counters.reserve(held.id, demands))
        fits = self.counted(measure) + amount <= MOST
        assert (outcome.refusing is None) == fits, "neither more nor less than there is room for"
        if fits:
            held = Held(held.id, demands, [each.bucket for each in outcome.standings])
            self.taken[measure].append(Taken(self.clock.ms, amount, held, self.clock.ms))
        assert outcome.standings[0].remaining == MOST - self.counted(measure)
        assert self.in_the_last_minute(measure) <= MOST

    @rule(place=st.integers(0, 20), share=st.floats(0, 1))
    def settle(self, place: int, share: float) -> None:
        if alive := [t for t in self.taken["tokens_per_minute"] if t.under_way and not t.dead]:
            taken = alive[place % len(alive)]
            taken.amount, taken.under_way = int(taken.amount * share), False
            self.run(self.say(lambda: self.counters.settle(taken.held, taken.amount)))

    @rule(place=st.integers(0, 20))
    def die(self, place: int) -> None:
        if alive := [t for t in self.taken["tokens_per_minute"] if t.under_way and not t.dead]:
            alive[place % len(alive)].dead = True

    @rule(ms=TIMES)
    def wait(self, ms: int) -> None:
        while ms > 0:
            step = min(ms, int(LEASE_S * 500))
            self.run(self.clock.go(step))
            ms -= step
            alive = [t for t in self.taken["tokens_per_minute"] if t.under_way and not t.dead]
            held = [each.held for each in alive]
            self.run(self.renew(held))
            for each in alive:
                each.renewed = self.clock.ms

    async def renew(self, held: Sequence[Held]) -> None:
        await self.counters.renew(held)
        await self.counters.beat()

    async def say(self, work: Callable[[], None]) -> None:
        work()
        await self.counters.beat()

    def forget_the_dead(self) -> None:
        for each in self.taken["tokens_per_minute"]:
            if each.dead and each.renewed + LEASE_S * 1000 <= self.clock.ms:
                each.amount = 0

    def counted(self, measure: Measure) -> int:
        oldest = self.clock.ms // BUCKET_MS - COUNTING[measure].buckets
        return sum(t.amount for t in self.taken[measure] if t.at // BUCKET_MS >= oldest)

    def in_the_last_minute(self, measure: Measure) -> int:
        begin = self.clock.ms - MINUTE_MS
        return sum(t.amount for t in self.taken[measure] if t.at > begin)


def test_the_windows_in_redis_hold_what_a_model_adds_up(redis_url: str) -> None:
    machine = type("WindowsHere", (Windows,), {"url": redis_url})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=40, stateful_step_count=25, deadline=None)
    )


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([0, 1, 499, 500, 20_000, 60_500]), st.integers(1, 60)),
        max_size=40,
    ),
    st.integers(1, 4),
)
def test_a_process_alone_lets_through_its_share(asked: list[tuple[int, int]], workers: int) -> None:
    now = 1_000_000
    here = Here(lambda: now)
    limit = Limit("client", "app", "tokens_per_minute", MOST, "c")
    passed: list[tuple[int, int]] = []
    for wait, amount in asked:
        now += wait
        used = sum(n for at, n in passed if at // BUCKET_MS >= now // BUCKET_MS - 120)
        outcome = here.look([(limit, amount)], workers)
        # Who is the only one may have more than a share.
        fits = used + amount <= MOST // workers or used == 0
        assert (outcome.refusing is None) == fits
        if fits:
            here.take([(limit, amount)])
            passed.append((now, amount))
        else:
            assert outcome.wait_ms
            now += outcome.wait_ms
            assert here.look([(limit, amount)], workers).refusing is None
        assert here.taken(limit) == sum(
            n for at, n in passed if at // BUCKET_MS >= now // BUCKET_MS - 120
        )


def test_what_is_under_way_here_is_counted() -> None:
    here = Here()
    slots = Limit("client", "app", "concurrent_requests", 4, "c")
    tokens = Limit("client", "app", "tokens_per_minute", 100, "t")
    demands = [(slots, 1), (tokens, 5)]
    first = here.take(demands)
    assert here.look(demands, 2).refusing is None
    second = here.take(demands)
    assert here.look(demands, 2).refusing == 0
    here.settle(demands, first, 1)
    assert here.look(demands, 2).refusing is None
    assert here.taken(tokens) == 6
    here.settle(demands, second, 9)
    assert here.taken(tokens) == 10


def test_more_than_the_limit_is_never_to_be_had() -> None:
    tokens = Limit("client", "app", "tokens_per_minute", 10, "t")
    outcome = Here().look([(tokens, 11)], 1)
    assert (outcome.refusing, outcome.wait_ms) == (0, None)
