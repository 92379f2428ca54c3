"""What processes let in by their shares: never more than the limit, whatever they hear of Redis."""

import asyncio
import itertools
import time
import uuid
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import redis.asyncio
from govern_support import CLOCKED, Clock
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from gateway.govern import limits_redis
from gateway.govern.limits_quotas import Quotas, Taken
from gateway.govern.limits_redis import Counters
from gateway.govern.limits_rules import Limit, Measure
from gateway.govern.limits_script import LEASE_S
from gateway.govern.limits_steps import Held, now_ms
from gateway.govern.limits_window import Here

PROCESSES = 3
MOST: dict[Measure, int] = {
    "requests_per_minute": 40,
    "tokens_per_minute": 200,
    "concurrent_requests": 12,
}
WHO = st.integers(0, PROCESSES - 1)


@dataclass
class Request:
    """What the model knows of a request."""

    at: int
    amounts: list[int]
    held: Held
    under_way: bool = True


@dataclass
class Process:
    """Counters of a process, and what it has let in."""

    counters: Counters
    taken: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.quotas = Quotas(self.counters.script.shares, Here())

    @property
    def under_way(self) -> list[Request]:
        return [each for each in self.taken if each.under_way]


class Processes(RuleBasedStateMachine):
    """Processes that take, settle, tell and miss answers, beside a model that adds it all up."""

    url = ""
    clock_ms = 0

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.redis = redis.asyncio.from_url(self.url)
        self.clock = Clock(self.redis)
        self.run(self.redis.delete("naru:limits:processes", "naru:limits:wanted"))
        self.run(self.go(0))
        word = uuid.uuid4().hex
        self.limits = tuple(
            Limit("client", "app", measure, most, f"test:{word}:{measure}")
            for measure, most in MOST.items()
        )
        self.processes = [Process(Counters(self.redis, CLOCKED)) for _ in range(PROCESSES)]
        self.ids = itertools.count()
        self.gone: list[Request] = []
        for _ in range(2):
            self.run(self.beat())

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    async def go(self, ms: int) -> None:
        await self.clock.go(ms)
        type(self).clock_ms = self.clock.ms

    async def beat(self, processes: Sequence[Process] = ()) -> None:
        for process in processes or self.processes:
            await process.counters.renew([each.held for each in process.under_way])
            await process.counters.beat()
            await self.quiet(process)

    async def quiet(self, process: Process) -> None:
        while process.counters._flights:
            await asyncio.wait(process.counters._flights)

    def teardown(self) -> None:
        for process in self.processes:
            self.run(process.counters.close())
        self.run(self.redis.aclose())
        self.runner.close()

    @rule(who=st.lists(WHO, min_size=1, max_size=8), tokens=st.integers(1, 25))
    def let_in(self, who: list[int], tokens: int) -> None:
        self.run(self.try_all(who, tokens))

    async def try_all(self, who: list[int], tokens: int) -> None:
        await asyncio.gather(*(self.try_one(self.processes[each], tokens) for each in who))

    @rule(who=WHO, tokens=st.integers(1, 25))
    def let_in_as_many_as_there_is_room_for(self, who: int, tokens: int) -> None:
        """What the others keep and do not need is given back."""
        process = self.processes[who]
        for _ in range(100):
            taken = len(process.taken)
            tries = 0
            while self.run(self.try_one(process, tokens)):
                # Who tells what it took may be given a share again: it is asked for that, too.
                tries += 1
                assert tries < 20, "they kept it"
                for each in self.processes:
                    self.run(self.give(each))
            if len(process.taken) == taken:
                return

    async def try_one(self, process: Process, tokens: int) -> bool:
        amounts = [tokens if limit.counting.kind == "t" else 1 for limit in self.limits]
        demands = list(zip(self.limits, amounts, strict=True))
        held = Held(str(next(self.ids)), demands, None)
        if taken := self.by_shares(process, tokens):
            held.demands = taken
        else:
            outcome = await process.counters.reserve(held.id, demands)
            assert outcome
            if outcome.refusing is not None:
                return outcome.withheld
            held.buckets = [each.bucket for each in outcome.standings]
        process.taken.append(Request(self.clock.ms, amounts, held))
        return False

    def by_shares(self, process: Process, tokens: int) -> Taken | None:
        if not process.counters.by_shares:
            return None
        process.counters.tell_soon()
        return process.quotas.take(self.limits, tokens, 0, now_ms(), stream=False)

    @rule(who=WHO, place=st.integers(0, 20), share=st.floats(0, 1))
    def settle(self, who: int, place: int, share: float) -> None:
        process = self.processes[who]
        if alive := process.under_way:
            taken = alive[place % len(alive)]
            taken.under_way = False
            taken.amounts[1] = int(taken.amounts[1] * share)
            self.run(self.say(lambda: self.settle_one(process, taken)))

    def settle_one(self, process: Process, taken: Request) -> None:
        held, tokens = taken.held, taken.amounts[1]
        if isinstance(held.demands, Taken) and held.by_shares:
            held.taken = tokens
            process.quotas.settle(held.demands, tokens, held.at_ms, now_ms())
            process.counters.tell_soon()
        else:
            process.counters.settle(held, tokens)

    async def say(self, work: Callable[[], None]) -> None:
        work()

    @rule(who=WHO)
    def tell(self, who: int) -> None:
        self.run(self.tell_now(self.processes[who]))

    async def tell_now(self, process: Process) -> None:
        process.counters._launch()
        await self.quiet(process)

    @rule(who=WHO, counted=st.booleans(), long=st.booleans(), covered=st.booleans())
    def miss_an_answer(self, who: int, counted: bool, long: bool, covered: bool) -> None:
        """It is sent, and counted or not; nobody hears that. Then Redis is there again."""
        self.run(self.try_one(self.processes[who], 1))
        for each in self.processes[who].under_way if long else ():
            if each.held.buckets is None:
                self.processes[who].counters._telling.add(each.held)
        self.run(self.miss(self.processes[who], counted=counted, covered=covered))

    async def miss(self, process: Process, *, counted: bool, covered: bool) -> None:
        script = process.counters.script
        send = script._send

        async def deaf(*sent: Any) -> list[Any]:
            if counted:
                await send(*sent)
            raise ConnectionError

        script._send = deaf  # type: ignore[method-assign]
        process.counters._launch()
        await self.quiet(process)
        script._send = send  # type: ignore[method-assign]
        if process.counters.answering:
            return
        joined = await process.counters.probe()
        assert joined
        assert not joined.forgot
        assert not joined.wait_ms
        covered = covered and process.counters.covered
        if not covered:
            await process.counters.tell(
                [each.held for each in process.under_way if each.held.buckets is None]
            )
        script.shares.resume(covered=covered, forgotten=False)
        process.counters.resume()

    @rule(who=WHO)
    def give_back(self, who: int) -> None:
        self.run(self.give(self.processes[who]))

    async def give(self, process: Process) -> None:
        await process.counters.give_back()
        await self.quiet(process)

    @rule(who=WHO)
    def end(self, who: int) -> None:
        """A process ends in good order; another takes its place."""
        process = self.processes[who]
        if not process.under_way:
            self.run(process.counters.close())
            self.gone += process.taken
            self.processes[who] = Process(Counters(self.redis, CLOCKED))
            self.run(self.beat())

    @rule(who=WHO, tokens=st.integers(1, 25))
    def freeze(self, who: int, tokens: int) -> None:
        """A process says so late that it is there that others have what was its share."""
        process = self.processes[who]
        if process.under_way:
            return
        self.run(self.tell_now(process))
        process.counters._present_until = 0.0
        others = [each for each in self.processes if each is not process]
        for _ in range(3):
            self.run(self.go(int(LEASE_S * 400)))
            self.run(self.beat(others))
        self.run(self.try_all([self.processes.index(each) for each in others * 4], tokens))
        self.run(self.beat())

    @rule(ms=st.sampled_from([20, 499, 1_000, 2_000, 30_000, 60_500]))
    def wait(self, ms: int) -> None:
        while ms > 0:
            step = min(ms, int(LEASE_S * 400))
            self.run(self.go(step))
            ms -= step
            self.run(self.beat())

    @rule()
    def nothing_is_lost_or_counted_twice(self) -> None:
        """When all have told, and leases that nobody renews are over."""
        self.wait(int(LEASE_S * 1000) + 1_000)
        for process in self.processes:
            self.run(self.tell_now(process))
        probe = [(limit, 0) for limit in self.limits]
        outcome = self.run(self.processes[0].counters.reserve(str(next(self.ids)), probe))
        for place, (limit, standing) in enumerate(zip(self.limits, outcome.standings, strict=True)):
            counted = limit.most - standing.remaining
            assert self.in_the_last(limit, 0, place) <= counted
            assert counted <= self.in_the_last(limit, 2 * limit.counting.width_ms, place)

    @invariant()
    def no_more_than_the_limit(self) -> None:
        for place, limit in enumerate(self.limits):
            assert self.in_the_last(limit, 0, place) <= limit.most, limit.measure

    def in_the_last(self, limit: Limit, more_ms: int, place: int) -> int:
        """What the last minute, and a little more, holds; or what is under way."""
        begin = self.clock.ms - limit.counting.span_ms - more_ms
        everything = [*self.gone, *(each for process in self.processes for each in process.taken)]
        return sum(
            each.amounts[place]
            for each in everything
            if (each.under_way if limit.counting.kind == "c" else each.at > begin)
        )


def test_processes_let_in_no_more_than_the_limit(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = type("ProcessesHere", (Processes,), {"url": redis_url})
    monkeypatch.setattr(time, "monotonic_ns", lambda: machine.clock_ms * 1_000_000)
    monkeypatch.setattr(limits_redis, "_PATIENCE_TICKS", 1_000)
    monkeypatch.setattr(limits_redis, "_PATIENCE_OF_NOBODY_TICKS", 1_000)
    run_state_machine_as_test(
        machine, settings=settings(max_examples=80, stateful_step_count=30, deadline=None)
    )
