"""Who may ask an engine now, who waits, and who is sent away."""

import asyncio
from collections import deque

from gateway.errors import Unavailable
from gateway.generation.breaker import retry_after
from gateway.observe.phases import Phase


class Admission:
    """At most `limit` requests at a time; up to `queue` more wait, for `timeout_s` each.

    Attributes:
        inside: How many have a place.
    """

    def __init__(self, name: str, *, limit: int, queue: int, timeout_s: float) -> None:
        self._name = name
        self._free = asyncio.Semaphore(limit)
        self._queue = queue
        self._timeout_s = timeout_s
        self._waiting: deque[float] = deque()
        self.inside = 0

    @property
    def oldest_wait_s(self) -> float:
        """Return for how long the first in the queue has waited."""
        if not self._waiting:
            return 0.0
        return asyncio.get_running_loop().time() - self._waiting[0]

    @property
    def waiting(self) -> int:
        """Return how many wait."""
        return len(self._waiting)

    async def enter(self) -> None:
        """Wait for a place; whoever gets one must `leave`.

        Raises:
            Unavailable: The queue is full, or the wait too long.
        """
        await self._take()
        self.inside += 1

    async def _take(self) -> None:
        if not self._free.locked():
            await self._free.acquire()
            return
        if len(self._waiting) >= self._queue:
            raise self._refusal("queue_full")
        since = asyncio.get_running_loop().time()
        self._waiting.append(since)
        try:
            with Phase("queue"):
                async with asyncio.timeout(self._timeout_s):
                    await self._free.acquire()
        except TimeoutError:
            raise self._refusal("queue_timeout") from None
        finally:
            self._waiting.remove(since)

    def leave(self) -> None:
        """Give the place to the next."""
        self.inside -= 1
        self._free.release()

    def _refusal(self, code: str) -> Unavailable:
        message = f"{self._name} has as much to do as it can take; try again"
        return Unavailable(message, code=code, headers=retry_after(1.0))
