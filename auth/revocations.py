"""What no longer counts although its signature does: recorded in PostgreSQL, known in memory.

Redis only says "look now"; it holds nothing, so that losing it loses nothing but speed.
"""

import asyncio
import datetime as dt

import redis.asyncio
from redis.exceptions import RedisError

from config.postgres import Database, load_queries

CHANNEL = "naru:revoked"
"""Redis channel on which every process hears that there is something to look at."""

_ANNOUNCE_S = 0.2
_TIMEOUT_S = 5.0
# As long as a token of the client could live, and a minute for clocks.
_LIFE_S = 3660.0
_SQL = load_queries("auth", "revocations.sql")


async def record_token(db: Database, jti: str, expires: dt.datetime) -> None:
    """Revoke one token, inside the caller's transaction; `expires` is its `exp`."""
    async with asyncio.timeout(_TIMEOUT_S):
        await db.execute(_SQL["record_token"], jti, expires)


async def record_client(db: Database, client_id: str, generation: int) -> None:
    """Revoke a client's tokens of generations below this one, inside the caller's transaction.

    What is remembered of its API keys and of foreign tokens that stand for it is looked up again.
    """
    async with asyncio.timeout(_TIMEOUT_S):
        await db.execute(_SQL["record_client"], client_id, generation, _LIFE_S)


async def record_key(db: Database, key_id: str) -> None:
    """Have every process look an API key up again, inside the caller's transaction."""
    async with asyncio.timeout(_TIMEOUT_S):
        await db.execute(_SQL["record_key"], key_id, _LIFE_S)


class Announcer:
    """Tells every process to look at once instead of at its next poll.

    Args:
        client: None announces nothing; polling finds it all the same.
    """

    def __init__(self, client: "redis.asyncio.Redis | None") -> None:
        self._redis = client

    async def announce(self) -> None:
        """Publish; call it after the commit. Takes 200 ms at most and never raises."""
        if self._redis is None:
            return
        try:
            async with asyncio.timeout(_ANNOUNCE_S):
                await self._redis.publish(CHANNEL, b"")
        except (RedisError, OSError):
            return
