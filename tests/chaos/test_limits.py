"""Limits over three real gateway processes: never exceeded, and used up, whatever Redis does."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import nullcontext, suppress
from typing import Any

import pytest
from fire_support import Fire, burning

LIMIT = 200


async def hang(fire: Fire, seconds: float) -> None:
    fire.redis.hang()
    await asyncio.sleep(seconds)
    fire.redis.go_on()


async def hang_again_and_again(fire: Fire) -> None:
    for _ in range(8):
        await hang(fire, 0.1)
        await asyncio.sleep(0.2)


async def kill(fire: Fire) -> None:
    fire.redis.kill()
    await asyncio.sleep(1)
    fire.redis.start()


FAULTS: dict[str, Callable[[Fire], Coroutine[Any, Any, None]]] = {
    "none": lambda _: asyncio.sleep(0),
    "silent for a moment": lambda fire: hang(fire, 0.3),
    "silent again and again": hang_again_and_again,
    "silent for long": lambda fire: hang(fire, 5),
    "killed": kill,
    "wiped": lambda fire: fire.wipe(),
}


@pytest.mark.parametrize(
    ("fault", "busy"), [(fault, fault not in ("none", "wiped")) for fault in FAULTS]
)
async def test_a_limit_is_never_exceeded_and_used_up(fire: Fire, fault: str, busy: bool) -> None:
    caller = await fire.caller()
    room = LIMIT - await fire.limit(caller, requests_per_minute=LIMIT)
    served = fire.served(caller)
    with burning(4) if busy else nullcontext():
        async with fire.storm(caller, clients=16, pause_s=0.02, max_tokens=1) as ends:
            async with asyncio.timeout(30):
                while served.ids.total() < LIMIT // 3:
                    await asyncio.sleep(0.001)
            await FAULTS[fault](fire)
            with suppress(TimeoutError):
                async with asyncio.timeout(40):
                    while served.ids.total() < room:
                        await asyncio.sleep(0.1)
            await asyncio.sleep(1)
    assert set(ends) == {"ok", "rate_limit_exceeded"}
    assert room - LIMIT // 100 <= served.ids.total() <= room


async def test_a_burst_at_one_process_is_not_refused_what_others_keep(fire: Fire) -> None:
    caller = await fire.caller()
    room = 40 - await fire.limit(caller, requests_per_minute=40)
    one, other, _ = fire.gateways
    replies = [await fire.ask(one, caller, max_tokens=1) for _ in range(3)]
    replies += await asyncio.gather(*(fire.ask(other, caller, max_tokens=1) for _ in range(60)))
    assert sum(reply.status == 200 for reply in replies) == room


async def test_a_killed_process_frees_the_places_of_its_streams(fire: Fire) -> None:
    caller = await fire.caller()
    await fire.limit(caller, requests_per_minute=900, concurrent_streams=1)
    first, second, _ = fire.gateways
    fire.upstream.pause_s = 1
    stream = asyncio.create_task(fire.ask(first, caller, stream=True, max_tokens=90))
    async with asyncio.timeout(30):
        while not fire.served(caller).under_way:
            await asyncio.sleep(0.05)
    refused = await fire.ask(second, caller, stream=True)
    assert refused.status == 429
    assert refused.headers["x-naru-reason"] == "client_concurrent_streams"
    first.kill()
    await stream
    fire.upstream.pause_s = 0
    async with asyncio.timeout(30):
        while (await fire.ask(second, caller, stream=True)).status == 429:
            await asyncio.sleep(0.1)
