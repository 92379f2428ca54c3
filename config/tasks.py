"""How a task of ours is ended."""

import asyncio
from typing import Any

_PATIENCE_S = 0.5


async def end_task(task: "asyncio.Task[Any]") -> None:
    """Cancel a task until it has ended, whatever it ends with.

    Once may not do: a library can raise something else in a cancellation's place, and the task go
    on.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=_PATIENCE_S)
    if not task.cancelled():
        task.exception()  # so that it is not told as one that nobody has seen
