"""Tasks are ended, whatever they make of a cancellation."""

import asyncio
import contextlib

from config.tasks import end_task


async def test_a_cancellation_that_is_lost_is_repeated() -> None:
    async def stubborn() -> None:
        for _ in range(2):
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
        await asyncio.Event().wait()

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await end_task(task)
    assert task.cancelled()


async def test_what_a_task_ends_with_is_nobodys_trouble() -> None:
    async def fails() -> None:
        raise ValueError

    task = asyncio.create_task(fails())
    await end_task(task)
    await end_task(task)
    assert task.done()
