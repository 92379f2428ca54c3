"""Failed client authentications, counted per client and address.

Right credentials are never looked at here: nobody can lock a client out by guessing.
"""

import asyncio
import json
import math
import time
from collections import OrderedDict

import redis.asyncio

from auth.secrets import SecretBox

LIMIT = 30
"""Failures within `WINDOW_S` that are answered as such; every further one is told to wait."""

WINDOW_S = 60
_REDIS_S = 0.05
_REMEMBERED = 10_000


class Throttle:
    """Counts failures, over all replicas while Redis answers and in this process otherwise.

    Args:
        cache: Where they are counted; None counts in this process alone.
        box: Renames who failed, so that Redis holds no names and no addresses.
    """

    def __init__(self, cache: "redis.asyncio.Redis | None", box: SecretBox) -> None:
        self._redis = cache
        self._box = box
        self._local: OrderedDict[bytes, tuple[int, float]] = OrderedDict()

    async def count_failure(self, client_id: str, peer: str) -> int:
        """Count one; return how many seconds to wait, or 0 while there are not too many."""
        who = self._box.pseudonym(json.dumps([client_id, peer]))
        try:
            async with asyncio.timeout(_REDIS_S):
                count, left_s = await self._count_in_redis(who)
        except Exception:  # noqa: BLE001 - redis raises anything where another server answers
            count, left_s = self._count_here(who)
        return max(1, math.ceil(left_s)) if count > LIMIT else 0

    async def _count_in_redis(self, who: bytes) -> tuple[int, float]:
        if self._redis is None:
            return self._count_here(who)
        key = b"naru:failures:" + who
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.set(key, 0, ex=WINDOW_S, nx=True)
            pipe.incr(key)
            pipe.pttl(key)
            _, count, left_ms = await pipe.execute()
        return count, left_ms / 1000

    def _count_here(self, who: bytes) -> tuple[int, float]:
        now = time.monotonic()
        count, until = self._local.pop(who, (0, 0.0))
        if until <= now:
            count, until = 0, now + WINDOW_S
        self._local[who] = count + 1, until
        if len(self._local) > _REMEMBERED:
            self._local.popitem(last=False)
        return count + 1, until - now
