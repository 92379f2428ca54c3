"""Quotas let in what their limits' shares cover, and add up to what each by itself would."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.govern import limits_shares
from gateway.govern.limits_quotas import Quotas, Taken
from gateway.govern.limits_rules import Limit, Measure, Per
from gateway.govern.limits_shares import Shares
from gateway.govern.limits_window import Here, Window

ROOM = {
    "requests_per_minute": 9,
    "tokens_per_minute": 30,
    "tokens_per_day": 40,
    "concurrent_requests": 3,
    "concurrent_streams": 2,
}
MEASURES: tuple[Measure, ...] = (
    "requests_per_minute",
    "tokens_per_minute",
    "tokens_per_day",
    "concurrent_requests",
    "concurrent_streams",
)


def limits_of(per: Per, subject: str, measures: Sequence[Measure], more: int = 0) -> list[Limit]:
    return [Limit(per, subject, each, 1_000 + more, f"{per}:{subject}:{each}") for each in measures]


TENANT = limits_of("tenant", "acme", MEASURES)
CALLERS = (
    tuple(TENANT),
    (*TENANT, *limits_of("key", "one", MEASURES[:2])),
    (*TENANT, *limits_of("key", "two", MEASURES[3:]), *limits_of("model", "m", MEASURES[1:2])),
)


@dataclass
class Process:
    """What a process counts, by a clock that the test sets; its shares have some room."""

    now: int = 1_000_000
    shares: Shares = field(default_factory=Shares)

    def __post_init__(self) -> None:
        self.here = Here(lambda: self.now)
        for limit in {limit for caller in CALLERS for limit in caller}:
            self.shares.count([(limit, 0)], self.now)
            self.shares.learn(limit.counter, ROOM[limit.measure], ROOM[limit.measure])

    def covers(self, demands: Sequence[tuple[Limit, int]]) -> bool:
        return all(self.free(limit) >= amount for limit, amount in demands)

    def free(self, limit: Limit) -> int:
        looked = self.shares.look(limit)
        assert looked
        return looked[0]

    def counted(self) -> dict[str, object]:
        """Return all that it holds, as far as anybody sees it."""
        self.shares.catch_up()
        shares = {
            counter: (share.taken, {at: n for at, n in share.untold.items() if n})
            for counter, share in self.shares._known.items()
        }
        here = {counter: visible(window) for counter, window in self.here._windows.items()}
        under_way = {counter: n for counter, n in self.here._under_way.items() if n}
        return {"shares": shares, "here": {c: v for c, v in here.items() if v}, "now": under_way}


def visible(window: Window) -> dict[int, int]:
    return {bucket: amount for bucket, amount in window.amounts.items() if amount}


ASKS = st.tuples(st.integers(0, 2), st.integers(1, 12), st.booleans(), st.sampled_from([0, 0, 9]))
ENDS = st.tuples(st.integers(0, 30), st.integers(0, 16))
OTHERS = st.sampled_from([10, 60, 450, 2_000, 70_000, "look"])
STEPS = st.lists(st.one_of(ASKS, ASKS, ENDS, OTHERS), max_size=30)


@settings(max_examples=500, deadline=None)
@given(STEPS)
def test_what_quotas_take_is_what_limits_one_by_one_take(
    steps: list[tuple[int, ...] | int | str],
) -> None:
    plain, quick = Process(), Process()
    quotas = Quotas(quick.shares, quick.here)
    open_: list[tuple[list[tuple[Limit, int]], Taken, int]] = []
    for step in steps:
        match step:
            case (who, tokens, stream, context):
                amount = tokens + context
                demands = [
                    (limit, amount if limit.counting.kind == "t" else 1)
                    for limit in CALLERS[who]
                    if stream or limit.measure != "concurrent_streams"
                ]
                taken = quotas.take(CALLERS[who], tokens, context, quick.now, stream=bool(stream))
                assert (taken is not None) == plain.covers(demands)
                if taken:
                    assert list(taken) == demands
                    plain.shares.count(demands, plain.now)
                    plain.here.take(demands)
                    open_.append((demands, taken, plain.now))
            case (place, tokens) if open_:
                demands, taken, at = open_.pop(place % len(open_))
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(limits_shares, "now_ms", lambda: plain.now)
                    plain.shares.settle(demands, tokens, at)
                plain.here.settle(demands, at, tokens)
                quotas.settle(taken, tokens, at, quick.now)
            case int():
                plain.now += step
                quick.now += step
            case "look":
                assert quick.counted() == plain.counted()
    assert quick.counted() == plain.counted()
    for window in quick.here._windows.values():
        assert all(one < other for one, other in pairwise(window.amounts)), "slide relies on it"


def test_the_nearest_limits_are_told_with_what_was_taken() -> None:
    process = Process()
    quotas = Quotas(process.shares, process.here)
    for _ in range(3):
        taken = quotas.take(CALLERS[1], 7, 0, process.now, stream=False)
        assert taken
    requests, tokens = taken.caller.nearest_now()
    assert requests
    assert tokens
    assert (requests[1], tokens[1]) == (6, 9)
    assert tokens[0].measure == "tokens_per_minute"
    # Another caller took of the same, and what remains was heard anew.
    quotas.settle(taken, 7, process.now, process.now)
    other = quotas.take(CALLERS[0], 1, 0, process.now, stream=False)
    assert other
    quotas.settle(other, 1, process.now, process.now)
    quotas.write()
    process.shares.state("tenant:acme:requests_per_minute")
    process.shares.learn("tenant:acme:requests_per_minute", 3, 2)
    taken = quotas.take(CALLERS[1], 1, 0, process.now, stream=False)
    assert taken
    told = taken.caller.nearest_now()
    assert [each and each[1] for each in told] == [1, 7]


def test_other_rules_are_no_longer_covered() -> None:
    process = Process()
    quotas = Quotas(process.shares, process.here)
    assert quotas.take(CALLERS[0], 1, 0, process.now, stream=False)
    lower = tuple(limits_of("tenant", "acme", MEASURES, more=-1))
    assert quotas.take(lower, 1, 0, process.now, stream=False) is None


def test_a_context_that_no_limit_could_cover_is_asked_for_otherwise() -> None:
    process = Process()
    quotas = Quotas(process.shares, process.here)
    assert quotas.take(CALLERS[0], 1, 1_000, process.now, stream=False) is None


@pytest.mark.parametrize("stream", [False, True])
def test_streams_are_counted_where_there_are_any(stream: bool) -> None:
    process = Process()
    quotas = Quotas(process.shares, process.here)
    streams = TENANT[4]
    assert quotas.take(CALLERS[0], 1, 0, process.now, stream=stream)
    quotas.write()
    assert process.free(streams) == 2 - stream


def test_callers_who_come_once_are_forgotten() -> None:
    process = Process()
    quotas = Quotas(process.shares, process.here)
    for _ in range(10_001):
        quotas._of((*CALLERS[0],))
    assert len(quotas._known) <= 10_000


def test_many_callers_are_written_some_at_a_time() -> None:
    process = Process()
    quotas = Quotas(process.shares, process.here)
    for number in range(300):
        limits = tuple(limits_of("key", str(number), MEASURES[:2]))
        for limit in limits:
            process.shares.count([(limit, 0)], process.now)
            process.shares.learn(limit.counter, 10, 10)
        assert quotas.take(limits, 1, 0, process.now, stream=False)
        assert len(quotas._unwritten) <= 128
