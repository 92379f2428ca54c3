"""Work in the task that serves a request ends when its client leaves, and tells who ended it."""

import asyncio
import gc
import weakref
from collections.abc import Coroutine
from typing import Any

import pytest

from gateway.errors import ClientGone
from gateway.govern.charge import Exchange, begin_exchange
from gateway.presence import Attended


async def _left() -> dict[str, Any]:
    return {"type": "http.disconnect"}


async def _stays() -> dict[str, Any]:
    await asyncio.Event().wait()
    raise AssertionError


async def _work(work: Coroutine[None, None, None]) -> None:
    with Attended(_left):  # type: ignore[arg-type]
        await work


async def _see(exchange: Exchange, seen: list[str]) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        seen.append(exchange.left)


async def _stay_once() -> None:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        await asyncio.Event().wait()


async def test_work_is_cancelled_when_the_client_leaves() -> None:
    exchange, seen = Exchange(), list[str]()
    begin_exchange(exchange)
    async with asyncio.timeout(30):
        with pytest.raises(ClientGone):
            await _work(_see(exchange, seen))
        assert seen == ["client_gone"]
        await asyncio.sleep(0)  # the task itself is not cancelled


async def test_work_that_swallows_a_cancellation_is_cancelled_again() -> None:
    async with asyncio.timeout(30):
        with pytest.raises(ClientGone):
            await _work(_stay_once())
        assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]


async def test_what_the_server_ends_says_so() -> None:
    exchange, entered = Exchange(), asyncio.Event()

    async def serve() -> None:
        begin_exchange(exchange)
        with Attended(_stays):  # type: ignore[arg-type]
            entered.set()
            await asyncio.Event().wait()

    serving = asyncio.create_task(serve())
    await entered.wait()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert exchange.left == "server_shutdown"


async def test_work_that_ends_leaves_nothing_behind() -> None:
    exchange = Exchange()
    begin_exchange(exchange)
    with Attended(_stays):  # type: ignore[arg-type]
        await asyncio.sleep(0.05)  # longer than it takes to look for the client
    assert exchange.left == "client_gone"
    await asyncio.sleep(0)
    assert not [task for task in asyncio.all_tasks() if "Attended" in repr(task)]


async def test_what_took_long_is_forgotten_without_a_garbage_collection() -> None:
    gc.disable()
    try:
        attended = Attended(_stays)  # type: ignore[arg-type]
        with attended:
            await asyncio.sleep(0.05)
        left = weakref.ref(attended)
        del attended
        await asyncio.sleep(0.01)
        assert left() is None
    finally:
        gc.enable()
