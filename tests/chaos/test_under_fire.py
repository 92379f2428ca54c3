"""Load on three processes while something breaks: nothing is lost, doubled or spent twice."""

import asyncio
import resource
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from fire_support import NANOS_PER_TOKEN, PROMPT_TOKENS, Caller, Fire, tokens_of

from gateway.govern.ledger_record import KILLED

TOKENS = 10
COST = (PROMPT_TOKENS + TOKENS) * NANOS_PER_TOKEN
RESTED = {"ok", "budget_exhausted"}
CLOSED = {"budget_unavailable"}
"""Where the store is away: budgets are closed, rather than exceeded."""


@dataclass
class Load:
    """Who asks, and what they are told: one may spend much, the other soon no more."""

    rich: Caller
    poor: Caller
    budgets: dict[str, int]
    ends: Counter[str]


@asynccontextmanager
async def load(fire: Fire, *, keys: bool = False) -> AsyncIterator[Load]:
    """Ask in streams and as a whole; return when all is well again and every answer is told."""
    rich, poor = await fire.caller(key=keys), await fire.caller(key=keys)
    amounts = {rich.client: 10**9, poor.client: 600 * COST}
    budgets = {await fire.budget(each, amounts[each.client]): 0 for each in (rich, poor)}
    budgets = dict(zip(budgets, amounts.values(), strict=True))
    fire.upstream.pause_s = 0.002
    slow = {"clients": 2, "pause_s": 0.05, "max_tokens": TOKENS}
    async with (
        fire.storm(rich, **slow) as a,
        fire.storm(rich, **slow, stream=True) as b,
        fire.storm(poor, **slow) as c,
    ):
        made = Load(rich, poor, budgets, Counter())
        async with asyncio.timeout(60):
            while min(a["ok"], b["ok"], c["ok"]) < 10:
                await asyncio.sleep(0.05)
        yield made
        await until_well(fire, rich)
    made.ends = a + b + c


async def until_well(fire: Fire, caller: Caller) -> None:
    """Return when every process has answered ten times in a row; nobody starts it again."""
    for gateway in fire.gateways:
        row = 0
        async with asyncio.timeout(60):
            while row < 10:
                row = row + 1 if (await fire.ask(gateway, caller)).status == 200 else 0
                await asyncio.sleep(0.01)


async def settled(fire: Fire, done: Load) -> None:
    """The ledger, the budgets and the upstream agree."""
    for caller, (budget, amount) in zip((done.rich, done.poor), done.budgets.items(), strict=True):
        rows = await fire.until_told(caller)
        served = fire.served(caller)
        assert len(rows) == served.ids.total()
        assert tokens_of(rows) == served.tokens
        state = await fire.until_settled(budget)
        assert state["spent"] == served.cost
        assert served.cost <= amount


async def postgres_restarts(fire: Fire) -> None:
    fire.postgres.stop()
    await asyncio.sleep(2)
    await asyncio.to_thread(fire.postgres.start)


async def postgres_hangs(fire: Fire) -> None:
    fire.postgres.hang()
    await asyncio.sleep(7)
    fire.postgres.go_on()


async def redis_is_wiped(fire: Fire) -> None:
    for _ in range(5):
        await fire.wipe()
        await asyncio.sleep(0.3)


async def redis_dies(fire: Fire) -> None:
    fire.redis.kill()
    await asyncio.sleep(2)
    fire.redis.start()


async def redis_hangs(fire: Fire) -> None:
    fire.redis.hang()
    await asyncio.sleep(3)
    fire.redis.go_on()


FAULTS: dict[str, tuple[Callable[[Fire], Coroutine[Any, Any, None]], set[str]]] = {
    "PostgreSQL restarts": (postgres_restarts, CLOSED),
    "PostgreSQL hangs": (postgres_hangs, CLOSED),
    "Redis is wiped": (redis_is_wiped, set()),
    "Redis dies": (redis_dies, set()),
    "Redis hangs": (redis_hangs, set()),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_nothing_is_lost_when_a_store_breaks(fire: Fire, fault: str) -> None:
    work, told = FAULTS[fault]
    async with load(fire) as done:
        await work(fire)
    assert set(done.ends) <= RESTED | told, done.ends
    await settled(fire, done)


async def test_a_killed_process_loses_and_doubles_nothing(fire: Fire) -> None:
    killed = fire.gateways[1]
    async with load(fire) as done:
        for _ in range(3):
            killed.kill()
            await fire.until_alive()
            await asyncio.sleep(0.5)
    gone = {"0", "ServerDisconnectedError", "ClientPayloadError", "ClientOSError"}
    assert set(done.ends) <= RESTED | CLOSED | gone, done.ends
    for caller, (budget, amount) in zip((done.rich, done.poor), done.budgets.items(), strict=True):
        rows = await fire.until_told(caller)
        served = fire.served(caller)
        # A process may die when the request is written down and not sent yet.
        unsent = sum(row["ending"] == KILLED for row in rows)
        assert served.ids.total() <= len(rows) <= served.ids.total() + unsent
        state = await fire.until_settled(budget)
        assert state["spent"] == sum(row["cost"] for row in rows) <= amount
        assert served.cost <= amount
        whole = [row for row in rows if row["ending"] == "completed"]
        assert all(tokens_of([row]) == PROMPT_TOKENS + row["completion_tokens"] for row in whole)
        assert tokens_of(whole) <= served.tokens


async def leave_again_and_again(
    fire: Fire, caller: Caller, *, stream: bool, after_s: float
) -> None:
    body = {"model": caller.model, "max_tokens": 50, "stream": stream}
    for _ in range(10):
        for gateway in fire.gateways:
            message = {"role": "user", "content": f"left {next(fire.ids)}"}
            url = f"{gateway.url}/v1/chat/completions"
            with suppress(TimeoutError, aiohttp.ClientError):
                async with (
                    asyncio.timeout(after_s),
                    fire.http.post(
                        url, json=body | {"messages": [message]}, headers=caller.headers
                    ) as answer,
                ):
                    await answer.read()


async def test_a_storm_of_callers_who_leave(fire: Fire) -> None:
    caller = await fire.caller()
    amount = 10**9
    budget = await fire.budget(caller, amount)
    fire.upstream.pause_s = 0.01
    await asyncio.gather(
        *(
            leave_again_and_again(fire, caller, stream=stream, after_s=after_s)
            for stream in (False, True)
            for after_s in (0.003, 0.02, 0.1, 0.2)
        )
    )
    served = fire.served(caller)
    async with asyncio.timeout(30):
        while served.under_way:
            await asyncio.sleep(0.05)
    state = await fire.until_settled(budget)
    rows = await fire.ledger(caller)
    assert {row["ending"] for row in rows} <= {"completed", "client_gone"}
    assert len(rows) <= 240, "a record per request"
    assert state["spent"] == sum(row["cost"] for row in rows) <= amount
    await until_well(fire, caller)


@pytest.mark.parametrize("minutes", [-5, 5])
async def test_a_process_whose_clock_is_wrong(fire: Fire, minutes: int) -> None:
    # A clock that is minutes behind takes new tokens for not valid yet: keys have no times.
    wrong = fire.gateways[2]
    wrong.kill()
    wrong.start(clock_off_s=minutes * 60)
    await fire.until_alive()
    try:
        async with load(fire, keys=True) as done:
            await asyncio.sleep(2)
        assert set(done.ends) <= RESTED, done.ends
        await settled(fire, done)
    finally:
        wrong.kill()


async def test_a_full_disk_while_postgres_hangs(fire: Fire) -> None:
    full = fire.gateways[0]
    full.kill()
    full.start(LEDGER__MAX_OPEN="16")
    await fire.until_alive()
    assert full.process
    try:
        async with load(fire) as done:
            resource.prlimit(full.process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
            fire.postgres.hang()
            async with asyncio.timeout(60):
                while (await fire.ask(full, done.rich)).code != "ledger_unavailable":
                    await asyncio.sleep(0.05)
            fire.postgres.go_on()
        assert set(done.ends) <= RESTED | CLOSED | {"ledger_unavailable"}, done.ends
        await settled(fire, done)
    finally:
        full.kill()
