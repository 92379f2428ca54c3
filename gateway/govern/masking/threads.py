"""Threads beside the event loop, which leave it the interpreter every few milliseconds."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_Result = TypeVar("_Result")
_THREADS = 2
_MOST_WAITING = 64
_TURN = 2_048
_PAUSE_S = 0.0001


class Busy(Exception):
    """As much as may wait is waiting."""


class Threads:
    """A few threads of one process, and a bounded queue before them."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="masking")
        self._waiting = 0

    def close(self) -> None:
        """End them; what was not begun is given up."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def run(self, work: Callable[[], _Result]) -> _Result:
        """Return what `work` does.

        Raises:
            Busy: Too much is waiting already.
        """
        if self._waiting >= _MOST_WAITING:
            raise Busy
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1


class Turns:
    """Called with the characters looked at; gives the interpreter away after some thousands.

    Otherwise whoever waits for it, the event loop above all, gets it after 5 ms only, each time.
    """

    def __init__(self) -> None:
        self._left = _TURN

    def __call__(self, characters: int) -> None:
        """Count, and pause where it is time to."""
        self._left -= characters
        if self._left <= 0:
            time.sleep(_PAUSE_S)
            self._left = _TURN
