import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from govern_support import CLOCKED, Scene

from gateway.govern.limits_redis import Counters
from gateway.govern.limits_rules import Demands, Measure
from gateway.govern.limits_script import LEASE_S, TooLate
from gateway.govern.limits_steps import Held, Outcome, Step, settlement


async def reserve(scene: Scene, demands: Demands) -> tuple[Outcome, Held]:
    id_ = uuid.uuid4().hex
    outcome = await scene.counters.reserve(id_, demands)
    assert outcome, "Redis is away"
    return outcome, Held(id_, demands, [each.bucket for each in outcome.standings])


async def settle(scene: Scene, held: Held, tokens: int) -> None:
    scene.counters.settle(held, tokens)
    await scene.counters.beat()  # behind it in the queue


async def left(scene: Scene, demands: Demands) -> int:
    """What remains at the first limit, for nothing."""
    probe = [(demands[0][0], 0)]
    outcome, _ = await reserve(scene, probe)
    return outcome.standings[0].remaining


async def test_a_window_slides(scene: Scene) -> None:
    one = [(scene.limit("requests_per_minute", 3), 1)]
    seen = []
    for _ in range(3):
        outcome, _ = await reserve(scene, one)
        seen.append((outcome.refusing, outcome.standings[0].remaining))
        await scene.clock.go(10_000)
    assert seen == [(None, 2), (None, 1), (None, 0)]
    refused, _ = await reserve(scene, one)
    assert refused.refusing == 0
    assert refused.wait_ms == 30_500, "the first leaves 60 s after the end of its bucket"
    await scene.clock.go(refused.wait_ms - 1)
    assert (await reserve(scene, one))[0].refusing == 0
    await scene.clock.go(1)
    assert (await reserve(scene, one))[0].refusing is None
    assert (await reserve(scene, one))[0].refusing == 0


async def test_all_is_reserved_or_nothing(scene: Scene) -> None:
    plenty, few = scene.limit("requests_per_minute", 9), scene.limit("tokens_per_minute", 5)
    slots = scene.limit("concurrent_requests", 9)
    demands = [(plenty, 1), (slots, 1), (few, 6)]
    refused, _ = await reserve(scene, demands)
    assert (refused.refusing, refused.wait_ms) == (2, None), "it never has so much"
    assert [await left(scene, [each]) for each in demands] == [9, 9, 5]


async def test_who_makes_one_wait_longest_refuses(scene: Scene) -> None:
    slots, minute = scene.limit("concurrent_requests", 1), scene.limit("requests_per_minute", 1)
    day = scene.limit("tokens_per_day", 1)
    demands = [(slots, 1), (day, 1), (minute, 1)]
    await reserve(scene, demands)
    refused, _ = await reserve(scene, demands)
    assert refused.refusing == 1
    assert refused.wait_ms
    assert 86_000_000 < refused.wait_ms <= 86_700_000


async def test_what_was_not_taken_is_given_back_and_what_was_more_is_charged(scene: Scene) -> None:
    demands = [(scene.limit("tokens_per_minute", 100), 40)]
    _, first = await reserve(scene, demands)
    _, second = await reserve(scene, demands)
    assert await left(scene, demands) == 20
    await settle(scene, first, 10)
    assert await left(scene, demands) == 50
    await scene.clock.go(30_000)
    await settle(scene, second, 70)
    assert await left(scene, demands) == 20, "the excess counts now"
    await scene.clock.go(31_000)
    assert await left(scene, demands) == 70, "what was reserved has left the window, not that"


async def test_a_settlement_counts_once(scene: Scene) -> None:
    demands = [(scene.limit("tokens_per_day", 100), 40), (scene.limit("concurrent_requests", 2), 1)]
    _, held = await reserve(scene, demands)
    await settle(scene, held, 10)
    step = settlement(held, 10)
    assert step
    await scene.counters._ask(replace(step, more=True))
    assert [await left(scene, [each]) for each in demands] == [90, 2]


async def test_who_ends_without_a_word_gives_back_what_it_held(scene: Scene) -> None:
    demands = [
        (scene.limit("tokens_per_day", 100), 40),
        (scene.limit("concurrent_requests", 2), 1),
        (scene.limit("concurrent_streams", 2), 1),
    ]
    await reserve(scene, demands)
    _, alive = await reserve(scene, demands)
    for _ in range(3):
        await scene.clock.go(int(LEASE_S * 500))
        await scene.counters.renew([alive])
        await scene.counters.beat()
    assert [await left(scene, [each]) for each in demands] == [60, 1, 1]


async def test_many_are_renewed_in_one_step(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    demands = [(scene.limit("tokens_per_day", 100), 5), (scene.limit("concurrent_requests", 9), 1)]
    alive = [(await reserve(scene, demands))[1] for _ in range(7)]
    steps: list[Step] = []
    run = scene.counters.script.run

    async def noting(some: Sequence[Step], *call: int) -> Any:
        steps.extend(some)
        return await run(some, *call)

    monkeypatch.setattr(scene.counters.script, "run", noting)
    for _ in range(3):
        await scene.clock.go(int(LEASE_S * 500))
        await scene.counters.renew(alive)
    assert [step.verb for step in steps] == ["renew"] * 3
    assert [await left(scene, [each]) for each in demands] == [65, 2]


async def test_what_outlived_its_lease_counts_all_the_same(scene: Scene) -> None:
    demands = [(scene.limit("tokens_per_minute", 100), 40)]
    _, held = await reserve(scene, demands)
    await scene.clock.go(int(LEASE_S * 1000) + 1)
    assert await left(scene, demands) == 100
    await settle(scene, held, 30)
    assert await left(scene, demands) == 70
    await scene.clock.go(int(60_500 - LEASE_S * 1000))
    assert await left(scene, demands) == 100, "at the time when it was asked"


async def test_a_wiped_redis_lets_everybody_in_and_learns_what_is_under_way(scene: Scene) -> None:
    demands = [
        (scene.limit("tokens_per_minute", 100), 90),
        (scene.limit("concurrent_requests", 1), 1),
    ]
    _, held = await reserve(scene, demands)
    ms = scene.clock.ms
    await scene.redis.flushdb()
    await scene.redis.script_flush()
    await scene.clock.set(ms)
    assert await left(scene, demands) == 100
    await scene.counters.renew([held])
    await scene.counters.beat()
    assert (await reserve(scene, demands[1:]))[0].refusing == 0
    await settle(scene, held, 95)
    assert await left(scene, demands) == 5
    assert await left(scene, demands[1:]) == 1


@pytest.mark.parametrize("minutes", [-5, 5])
async def test_a_step_of_redis_own_clock_allows_no_more_and_ends_soon(
    scene: Scene, minutes: int
) -> None:
    demands = [(scene.limit("requests_per_minute", 2), 1), (scene.limit("tokens_per_day", 10), 5)]
    for _ in range(2):
        await settle(scene, (await reserve(scene, demands))[1], 5)
    await scene.clock.go(minutes * 60_000)
    refused, _ = await reserve(scene, demands)
    assert refused.refusing == 1
    await scene.clock.go(60_500)
    assert await left(scene, demands) == 2, "a minute later it is over"
    assert await left(scene, demands[1:]) == 0


async def test_nothing_stays_in_redis(scene: Scene) -> None:
    demands = [
        (scene.limit("requests_per_minute", 9), 1),
        (scene.limit("tokens_per_minute", 99), 9),
        (scene.limit("tokens_per_day", 99), 9),
        (scene.limit("concurrent_requests", 9), 1),
    ]
    _, held = await reserve(scene, demands)
    await scene.counters.renew([held])
    await scene.counters.beat()
    keys = [key async for key in scene.redis.scan_iter(f"test:{scene.word}:*")]
    assert len(keys) == 6
    for key in keys:
        assert 0 < await scene.redis.pttl(key) <= 86_400_000 * 1.01, key
    await settle(scene, held, 9)
    keys = [key async for key in scene.redis.scan_iter(f"test:{scene.word}:*")]
    assert len(keys) == 3, "leases are gone"


async def test_processes_are_counted_while_they_say_so(scene: Scene) -> None:
    await scene.redis.delete("naru:limits:processes")
    other = Counters(scene.redis, CLOCKED)
    seen = []
    for counters in (scene.counters, other, scene.counters):
        await counters.beat()
        seen.append(counters.script.processes)
    assert seen == [1, 2, 2]
    await scene.clock.go(int(LEASE_S * 1000) + 1)
    await other.beat()
    assert other.script.processes == 1
    await scene.redis.delete("naru:limits:processes")


async def two_processes(scene: Scene) -> tuple[Counters, Counters]:
    await scene.redis.delete("naru:limits:processes")
    both = scene.counters, Counters(scene.redis, CLOCKED)
    for counters in (*both, *both):
        await counters.beat()
    return both


@pytest.mark.parametrize("measure", ["requests_per_minute", "tokens_per_day", "concurrent_streams"])
async def test_shares_are_taken_off_what_others_get(scene: Scene, measure: Measure) -> None:
    one, other = await two_processes(scene)
    demands = [(scene.limit(measure, 20), 1)]

    async def ask(counters: Counters) -> Outcome:
        outcome = await counters.reserve(uuid.uuid4().hex, demands)
        assert outcome
        return outcome

    (mine,) = (await ask(one)).standings
    assert (mine.remaining, mine.share) == (19, 9), "what is left, in two"
    passed = [await ask(other) for _ in range(12)]
    assert [each.refusing for each in passed].index(0) == 10
    assert passed[-1].withheld
    assert passed[-1].wait_ms == 1000
    # What the process knew of counts until it has heard that there is less now.
    assert [(await ask(one)).standings[0].share for _ in range(2)] == [4, 3]
    await one.give_back()
    await one.beat()
    assert [(await ask(other)).refusing for _ in range(9)].count(None) == 7
    last = await ask(other)
    assert (last.refusing, last.withheld) == (0, False)


async def test_shares_of_who_is_gone_are_the_others(scene: Scene) -> None:
    one, other = await two_processes(scene)
    demands = [(scene.limit("requests_per_minute", 20), 20)]
    await one.reserve("a", [(demands[0][0], 0)])
    refused = await other.reserve("b", demands)
    assert refused
    assert refused.withheld
    await scene.clock.go(int(LEASE_S * 1000) + 1)
    await other.beat()
    passed = await other.reserve("b", demands)
    assert passed
    assert passed.refusing is None


async def test_who_asks_too_late_takes_nothing(scene: Scene) -> None:
    demands = [(scene.limit("requests_per_minute", 3), 1)]
    await reserve(scene, demands)
    scene.counters.script._ahead_ms -= 10_000
    with pytest.raises(TooLate):
        await scene.counters.script._send(["a", "b", "c", "d"], b"[]", 1_000)
    scene.counters.script._ahead_ms -= 10_000
    assert await left(scene, demands) == 2, "where the server's clock was set, it is asked again"
