"""How processes tell each other through Redis that there is something to look at in PostgreSQL.

Nothing is kept there: without Redis, or when a message is lost, the next poll finds it too.
"""

import asyncio
import time
from contextlib import suppress

import redis.asyncio

_ANNOUNCE_S = 0.2
# What is announced within this time is found by one look.
_GATHER_S = 0.02
# A connection that still says nothing then is given up.
_PATIENCE_S = 0.5


class Announcer:
    """Tells every process that listens on a channel to look at once instead of at its next poll.

    Args:
        client: None announces nothing; polling finds it all the same.
        channel: What the processes listen on.
    """

    def __init__(self, client: "redis.asyncio.Redis | None", channel: str) -> None:
        self._redis = client
        self._channel = channel

    async def announce(self) -> None:
        """Publish; call it after the commit. Takes 200 ms at most and never raises."""
        if self._redis is None:
            return
        try:
            async with asyncio.timeout(_ANNOUNCE_S):
                await self._redis.publish(self._channel, b"")
        except Exception:  # noqa: BLE001 - redis raises anything where another server answers
            return


class Announcements:
    """Hears what an `Announcer` of the same channel says, as long as Redis is there."""

    def __init__(self, cache: "redis.asyncio.Redis", channel: str) -> None:
        self._redis = cache
        self._channel = channel
        self._subscription: redis.asyncio.client.PubSub | None = None

    async def wait(self, seconds: float) -> None:
        """Return when something was announced, or might have been, or after about `seconds`."""
        until = time.monotonic() + seconds
        try:
            async with asyncio.timeout(seconds + _PATIENCE_S):
                await self._hear(seconds)
        except Exception:  # noqa: BLE001 - redis raises anything where another server answers
            await self.close()
            await asyncio.sleep(until - time.monotonic())

    async def close(self) -> None:
        """Stop listening."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            with suppress(Exception):
                async with asyncio.timeout(_PATIENCE_S):
                    await subscription.aclose()  # type: ignore[no-untyped-call]

    async def _hear(self, seconds: float) -> None:
        if self._subscription is None:
            self._subscription = self._redis.pubsub(ignore_subscribe_messages=True)
            await self._subscription.subscribe(self._channel)
        # Also returns when a new connection answers: something may have been missed before.
        if await self._subscription.get_message(timeout=seconds):
            await asyncio.sleep(_GATHER_S)
