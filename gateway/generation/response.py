"""Reading an upstream's response: how long it may be silent, and how long it may be."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Self

import aiohttp

_LAST_WORDS_S = 0.05
_MAX_LAST_WORDS = 64_000


class Stall:
    """Ends a response that is silent too long. One timer for all its parts: they are many."""

    def __init__(self, response: aiohttp.ClientResponse, limit_s: float) -> None:
        self._response = response
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

    async def next(self, events: AsyncGenerator[bytes, None]) -> bytes | None:
        """Return the next event, None at the end.

        Raises:
            TimeoutError: It did not come; comments are no events.
        """
        self._waiting_since = self._loop.time()
        try:
            return await anext(events, None)
        except aiohttp.ClientError:
            if self._expired:
                raise TimeoutError from None
            raise
        finally:
            self._waiting_since = None

    def _look(self) -> None:
        # While the client is slow nobody waits for the upstream.
        now = self._loop.time()
        end = (self._waiting_since or now) + self._limit_s
        if end > now:
            self._timer = self._loop.call_at(end, self._look)
        else:
            self._expired = True
            self._response.close()


async def read_body(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """Return the body.

    Raises:
        ValueError: It is longer than `limit` bytes.
    """
    parts, size = [], 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > limit:
            raise ValueError("answer too long")
        parts.append(part)
    return b"".join(parts)


async def hear_out(response: aiohttp.ClientResponse) -> None:
    """Read what follows the end, so that the connection can serve again; but not for long."""
    with contextlib.suppress(TimeoutError, ValueError, aiohttp.ClientError, OSError):
        async with asyncio.timeout(_LAST_WORDS_S):
            await read_body(response, _MAX_LAST_WORDS)
