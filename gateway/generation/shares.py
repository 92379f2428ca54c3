"""Whose seconds a replica's are when it computes several requests at the same time."""

import time
from collections.abc import Callable


class Shares:
    """Divides a replica's time evenly among the requests that this process has there.

    All shares together are the time in which it had one at least; `clock` tells nanoseconds.
    """

    def __init__(self, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock = clock
        self._running = 0
        self._each = 0
        self._at = 0

    def begin(self) -> int:
        """Count a request that begins; return what `end` wants to know."""
        self._pass()
        self._running += 1
        return self._each

    def end(self, begun: int) -> int:
        """Count it no more; return its share in nanoseconds."""
        self._pass()
        self._running -= 1
        return self._each - begun

    def _pass(self) -> None:
        now = self._clock()
        if self._running:
            self._each += -(-(now - self._at) // self._running)
        self._at = now
