"""Who waits for an engine, for how long, and who is sent away; what a second attempt costs."""

import asyncio

import pytest

from gateway.errors import Unavailable
from gateway.generation.admission import Admission
from gateway.generation.budget import RetryBudget


def _admission(limit: int = 1, queue: int = 2, timeout_s: float = 5) -> Admission:
    return Admission("engine q", limit=limit, queue=queue, timeout_s=timeout_s)


async def test_the_first_in_the_queue_is_the_next() -> None:
    admission, order = _admission(), []
    await admission.enter()

    async def work(name: str) -> None:
        await admission.enter()
        order.append(name)
        admission.leave()

    waiting = [asyncio.create_task(work(name)) for name in "ab"]
    await asyncio.sleep(0)
    assert admission.oldest_wait_s >= 0
    admission.leave()
    await asyncio.gather(*waiting)
    assert order == ["a", "b"]
    assert admission.oldest_wait_s == 0


async def test_a_full_queue_refuses_at_once() -> None:
    admission = _admission(queue=1)
    await admission.enter()
    waiting = asyncio.create_task(admission.enter())
    await asyncio.sleep(0)
    with pytest.raises(Unavailable) as caught:
        await admission.enter()
    assert caught.value.code == "queue_full"
    assert caught.value.headers["retry-after-ms"] == "1000"
    admission.leave()
    await waiting


async def test_a_long_wait_is_refused_and_the_place_is_not_lost() -> None:
    admission = _admission(timeout_s=0.02)
    await admission.enter()
    with pytest.raises(Unavailable) as caught:
        await admission.enter()
    assert caught.value.code == "queue_timeout"
    admission.leave()
    await admission.enter()


async def test_who_leaves_the_queue_takes_no_place() -> None:
    admission = _admission()
    await admission.enter()
    waiting = asyncio.create_task(admission.enter())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert admission.oldest_wait_s == 0
    admission.leave()
    async with asyncio.timeout(1):
        await admission.enter()


def test_a_fifth_of_the_requests_of_half_a_minute() -> None:
    now = 0.0
    budget = RetryBudget(lambda: now)
    assert [budget.spend() for _ in range(6)] == [True] * 5 + [False]
    for _ in range(100):
        budget.count_request()
    assert sum(budget.spend() for _ in range(100)) == 15
    now = 31.0
    assert [budget.spend() for _ in range(6)] == [True] * 5 + [False]


def test_a_second_is_forgotten_half_a_minute_later() -> None:
    now = 5.0
    budget = RetryBudget(lambda: now)
    for _ in range(50):
        budget.count_request()
    now = 34.9
    budget.count_request()
    assert sum(budget.spend() for _ in range(50)) == 11
    now = 35.0
    assert not budget.spend()
