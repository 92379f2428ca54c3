"""Runs `limits.lua`, for one process, as that process sees the other processes and Redis."""

import hashlib
import importlib.resources
import time
import uuid
from collections.abc import Sequence
from typing import Any

import msgspec
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError

from gateway.govern.limits_shares import Shares
from gateway.govern.limits_steps import Step

LEASE_S = 6.0
"""How long what a process has reserved outlives it."""

PRESENCE = "naru:limits:processes"
"""Who is there."""

PROBE_S = 0.25
"""How long it may take to find Redis there again."""

SCRIPT = (importlib.resources.files("gateway.govern") / "limits.lua").read_text(encoding="utf-8")

_STATE = "naru:limits:state"
_WANTED = "naru:limits:wanted"
_TOO_LATE_MS = 500


class TooLate(Exception):
    """The script ran when nobody waited for it any more, or after a later one, and did nothing."""


def open_counting(url: str) -> "redis.asyncio.Redis":
    """Return a client for a `Script`: what it sends is never sent twice."""
    return redis.asyncio.from_url(
        url,
        socket_timeout=5.0,
        socket_connect_timeout=PROBE_S,
        retry=Retry(NoBackoff(), 0),
    )


class Script:
    """The script.

    Attributes:
        process: Which one this is.
        processes: How many there are.
        memory: Which one Redis has: another one once it was wiped; empty before it was heard.
        shares: What this process may let through without asking.
    """

    def __init__(self, cache: "redis.asyncio.Redis", text: str = SCRIPT) -> None:
        self._redis = cache
        self._text = text
        self._sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        self._ahead_ms = 0.0
        self._calls = 0
        self.process = uuid.uuid4().hex
        self._heard = f"naru:limits:heard:{self.process}"
        self.processes = 1
        self.memory = ""
        self.shares = Shares()

    def next_call(self) -> int:
        """Return a number for a call; Redis takes none after one with a greater number."""
        self._calls += 1
        return self._calls

    async def run(self, steps: Sequence[Step], call: int | None = None) -> list[Any]:
        """Take steps; what a server with another clock calls too late is sent once more."""
        keys: dict[str, int] = {PRESENCE: 1, _STATE: 2, _WANTED: 3, self._heard: 4}
        number = call or self.next_call()
        told = [
            (
                step.verb,
                step.id,
                [(keys.setdefault(key, len(keys) + 1), *rest) for key, *rest in step.parts],
                self._more(step),
            )
            for step in steps
        ]
        try:
            return await self._send([*keys], msgspec.json.encode(told), number)
        except TooLate:
            return await self._send([*keys], msgspec.json.encode(told), number)

    def _more(self, step: Step) -> object:
        if step.verb in ("reserve", "spend", "count", "yield"):
            return [self.shares.state(counter) for counter, *_ in step.parts]
        return step.more

    async def _send(self, keys: Sequence[str], steps: bytes, number: int) -> list[Any]:
        sent_ms = time.monotonic() * 1000
        deadline = int(sent_ms + self._ahead_ms) + _TOO_LATE_MS if self._ahead_ms else 0
        given: tuple[Any, ...] = (
            *(*keys, int(LEASE_S * 1000), steps),
            *(self.process, max(self.processes, 1), self.memory, deadline, number),
        )
        try:
            answer = await self._redis.evalsha(self._sha, len(keys), *given)
        except NoScriptError:
            answer = await self._redis.eval(self._text, len(keys), *given)
        now, *answers = msgspec.json.decode(answer)
        self._ahead_ms = now - sent_ms
        if not answers:
            raise TooLate
        taken: list[Any] = answers[0]
        return taken
