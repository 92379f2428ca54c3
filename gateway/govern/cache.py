"""Whole answers, kept in Redis for who asks exactly the same again and may see the same.

Nothing depends on it: where Redis is away or slow the answer is made anew. What is kept is sealed,
so that Redis holds neither questions nor answers.
"""

import asyncio
import hashlib
import importlib.resources
import logging
import time
from collections.abc import Awaitable
from typing import TypeVar

import msgspec
import redis.asyncio
from redis.exceptions import RedisError

from auth import SecretBox
from config.cache import CacheSettings
from config.errors import ConfigError
from config.scope import TenantScope
from gateway.observe import metrics

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")
_PATIENCE_S = 0.05
_REST_S = 5.0
_PREFIX = "naru:cache:"
_INDEX = (f"{_PREFIX}ages", f"{_PREFIX}sizes", f"{_PREFIX}total")
_SCRIPT = (importlib.resources.files("gateway.govern") / "cache.lua").read_text()
_encode_key = msgspec.msgpack.Encoder(order="deterministic").encode


class CachedAnswer(msgspec.Struct, array_like=True):
    """An answer: one part, or the chunks of a stream; and what it took when it was made."""

    target: str
    parts: list[bytes]
    prompt_tokens: int
    completion_tokens: int


_decode = msgspec.msgpack.Decoder(CachedAnswer).decode
_encode = msgspec.msgpack.Encoder().encode


def cache_key(scope: TenantScope, model: str, asked: object) -> str:
    """Return the name of the answer to a request.

    Two callers share it only if they are of one tenant and may use the same objects. `asked` is
    everything that the answer depends on, as msgpack can write it.
    """
    allowed = [
        None if names is None else sorted(names)
        for names in (scope.allowed.agents, scope.allowed.models, scope.allowed.vector_stores)
    ]
    seen = [scope.tenant, allowed, scope.local_only, model, asked]
    return _PREFIX + hashlib.sha256(_encode_key(seen)).hexdigest()


class ResponseCache:
    """The cache as one process sees it."""

    def __init__(
        self, client: "redis.asyncio.Redis", box: SecretBox, settings: CacheSettings
    ) -> None:
        self._keep = client.register_script(_SCRIPT)
        self._redis = client
        self._box = box
        self._settings = settings
        self._rests_until = 0.0

    @property
    def max_answer_bytes(self) -> int:
        """Return how long an answer may be to be kept."""
        return self._settings.max_answer_bytes

    async def find(self, key: str) -> CachedAnswer | None:
        """Return the answer of that name, if it is there and whole."""
        sealed = await self._asked(self._redis.get(key))
        found = self._opened(sealed, key) if isinstance(sealed, bytes) else None
        metrics.CACHE_LOOKUPS.add("hit" if found else "miss")
        return found

    def _opened(self, sealed: bytes, key: str) -> CachedAnswer | None:
        try:
            return _decode(self._box.open(sealed, key.encode()))
        except (ConfigError, msgspec.DecodeError):
            return None

    async def keep(self, key: str, answer: CachedAnswer, ttl_s: float) -> None:
        """Keep an answer, unless it is too long."""
        sealed = self._box.seal(_encode(answer), key.encode())
        if len(sealed) > self._settings.max_answer_bytes:
            return
        arguments: list[bytes | int] = [sealed, max(1, int(ttl_s)), self._settings.max_bytes]
        await self._asked(self._keep(keys=[key, *_INDEX], args=arguments))

    async def _asked(self, asking: Awaitable[_Result]) -> _Result | None:
        """Return what Redis answers; None where it does not, and for some seconds afterwards."""
        if time.monotonic() < self._rests_until:
            if asyncio.iscoroutine(asking):
                asking.close()
            return None
        try:
            async with asyncio.timeout(_PATIENCE_S):
                return await asking
        except (RedisError, OSError) as error:
            self._rests_until = time.monotonic() + _REST_S
            _log.warning("the response cache is not used: %s", type(error).__name__)
            return None
