"""Reading an upstream's answer: how long it may be silent, and what follows its end."""

import asyncio
import contextlib
from typing import Self

from gateway.generation.http1_answer import Broken, HttpAnswer

_LAST_WORDS_S = 0.05
_MAX_LAST_WORDS = 64_000


class Stall:
    """Ends an answer that is silent too long. One timer for all its parts: they are many."""

    __slots__ = ("_answer", "_expired", "_limit_s", "_loop", "_timer", "_waiting_since")

    def __init__(self, answer: HttpAnswer, limit_s: float) -> None:
        self._answer = answer
        self._limit_s = limit_s
        self._loop = asyncio.get_running_loop()
        self._waiting_since: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._expired = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer:
            self._timer.cancel()

    def arm(self) -> None:
        """Begin to watch."""
        if self._timer is None:
            self._timer = self._loop.call_later(self._limit_s, self._look)

    async def next(self) -> bytes:
        """Return the next part, b"" at the end.

        Raises:
            TimeoutError: Nothing was `heard` for too long.
        """
        if self._waiting_since is None:
            self._waiting_since = self._loop.time()
        try:
            return await self._answer.next()
        except Broken:
            if self._expired:
                raise TimeoutError from None
            raise

    def heard(self) -> None:
        """Note that an event came: comments are none."""
        self._waiting_since = None

    def _look(self) -> None:
        # While the client is slow nobody waits for the upstream.
        now = self._loop.time()
        end = (self._waiting_since or now) + self._limit_s
        if end > now:
            self._timer = self._loop.call_at(end, self._look)
        else:
            self._expired = True
            self._answer.close()


async def hear_out(answer: HttpAnswer) -> None:
    """Read what follows the end, so that the connection can serve again; but not for long."""
    if answer.ended:
        return
    with contextlib.suppress(OSError, ValueError):
        # A timeout is an OSError.
        async with asyncio.timeout(_LAST_WORDS_S):
            await answer.read(_MAX_LAST_WORDS)
