"""The counters of all processes, in Redis: a script that many requests share, and a breaker."""

import asyncio
import hashlib
import importlib.resources
import logging
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import msgspec
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError

from gateway.govern.limits_rules import Demands
from gateway.govern.limits_window import Outcome, Standing

LEASE_S = 6.0
"""How long what a process has reserved outlives it."""

SCRIPT = (importlib.resources.files("gateway.govern") / "limits.lua").read_text(encoding="utf-8")

_TICK_S = 0.01
_PATIENCE_TICKS = 5
_PROBE_S = 0.25
_CLOSE_S = 0.5
_MOST_STEPS = 64
_MOST_UNSETTLED = 10_000
_PRESENCE = "naru:limits:processes"
_log = logging.getLogger(__name__)

_Part = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class _Step:
    """One step of the script, as `limits.lua` describes it; each part begins with a counter."""

    verb: Literal["reserve", "settle", "renew", "join"]
    id: str
    parts: Sequence[_Part]
    again: bool = False
    at: float = field(default_factory=time.monotonic)


@dataclass(slots=True, eq=False)
class _Call:
    step: _Step
    answer: "asyncio.Future[Any]"
    since: int
    sent: bool = False


@dataclass(frozen=True, slots=True)
class Held:
    """A reservation under way.

    Attributes:
        buckets: Where Redis has counted it; None: it has not, for it was away.
    """

    id: str
    demands: Demands
    buckets: Sequence[int] | None


def open_counting(url: str) -> "redis.asyncio.Redis":
    """Return a client for `Counters`: what it sends is never sent twice."""
    return redis.asyncio.from_url(
        url,
        socket_timeout=1.0,
        socket_connect_timeout=_PROBE_S,
        retry=Retry(NoBackoff(), 0),
    )


class Counters:
    """Takes steps in Redis; what is asked while others are on their way is sent together.

    Attributes:
        answering: Whether Redis was there when it was last asked.
    """

    def __init__(self, cache: "redis.asyncio.Redis", script: str = SCRIPT) -> None:
        self._redis = cache
        self._script = script
        self._sha = hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
        self._queue: list[_Call] = []
        self._asked: dict[_Call, None] = {}
        self._flight: asyncio.Task[None] | None = None
        self._flights: set[asyncio.Task[None]] = set()
        self._ticks = 0
        self._ticking: asyncio.TimerHandle | None = None
        self._unsettled: deque[_Step] = deque(maxlen=_MOST_UNSETTLED)
        self.answering = True

    async def reserve(self, id_: str, demands: Demands) -> Outcome | None:
        """Reserve at every counter or at none; None: Redis is away, which takes 50 ms at most."""
        parts = [
            (limit.counter, how.kind, limit.most, amount, how.width_ms, how.buckets)
            for limit, amount in demands
            for how in (limit.counting,)
        ]
        answer = await self._ask(_Step("reserve", id_, parts))
        if answer is None:
            return None
        refusing, wait, standings = answer
        return Outcome(
            refusing - 1 if refusing else None,
            wait if wait >= 0 else None,
            [Standing(*each) for each in standings],
        )

    def settle(self, held: Held, tokens: int) -> None:
        """Settle a reservation; where Redis is away, when it is back."""
        if parts := _settled(held, tokens):
            self._settle(_Step("settle", held.id, parts))

    async def beat(self, process: str, held: Sequence[Held]) -> int | None:
        """Say that the process is there, and what is under way in it.

        Return how many processes are; None: Redis is away.
        """
        for each in held:
            if parts := _renewed(each):
                self._ask(_Step("renew", each.id, parts))
        count: int | None = await self._ask(_join(process))
        return count

    async def probe(self, process: str) -> int | None:
        """See whether Redis is back; if so, settle what could not be.

        Return how many processes there are; None: it is away.
        """
        try:
            async with asyncio.timeout(_PROBE_S):
                (count,) = await self._run([_join(process)])
        except Exception:  # noqa: BLE001 - redis raises anything where another server answers
            return None
        self.answering = True
        _log.info("Redis answers again: limits are counted over all processes")
        await self._settle_late()
        return int(count)

    async def close(self) -> None:
        """Wait a moment for what is on its way."""
        async with asyncio.timeout(_CLOSE_S):
            while self._flights:
                await asyncio.wait(self._flights)

    def _settle(self, step: _Step) -> "asyncio.Future[Any]":
        if not self.answering:
            self._unsettled.append(step)
        return self._ask(step)

    async def _settle_late(self) -> None:
        """Settle some at a time, so that nobody waits behind them all."""
        while self._unsettled and self.answering:
            some = [self._unsettled.popleft() for _ in range(min(32, len(self._unsettled)))]
            now = time.monotonic()
            fresh = (replace(step, parts=_still_counted(step, now)) for step in some)
            await asyncio.gather(*(self._settle(step) for step in fresh if step.parts))

    def _ask(self, step: _Step) -> "asyncio.Future[Any]":
        """Take a step; the answer is None where Redis is away."""
        loop = asyncio.get_running_loop()
        call = _Call(step, loop.create_future(), self._ticks)
        if not self.answering:
            call.answer.set_result(None)
            return call.answer
        self._queue.append(call)
        self._asked[call] = None
        if self._flight is None:
            self._launch()
        if self._ticking is None:
            self._ticking = loop.call_later(_TICK_S, self._tick)
        return call.answer

    def _tick(self) -> None:
        """Count turns of the loop, not time: that we are busy must not look like Redis' fault."""
        self._ticks += 1
        self._ticking = None
        oldest = next(iter(self._asked), None)
        if oldest and self._ticks - oldest.since >= _PATIENCE_TICKS:
            self._lose("it is silent")
        elif oldest:
            self._ticking = asyncio.get_running_loop().call_later(_TICK_S, self._tick)

    def _launch(self) -> None:
        self._flight = asyncio.create_task(self._fly())
        self._flights.add(self._flight)
        self._flight.add_done_callback(self._flights.discard)

    async def _fly(self) -> None:
        """Send what has gathered by now; what gathers meanwhile goes with the next."""
        flight = self._flight
        batch, self._queue = self._queue[:_MOST_STEPS], self._queue[_MOST_STEPS:]
        for call in batch:
            call.sent = True
        try:
            answers = await self._run([call.step for call in batch])
            for call, answer in zip(batch, answers, strict=True):
                self._take(call, answer)
        except Exception as error:  # noqa: BLE001 - redis raises anything where another answers
            if flight is self._flight:
                self._lose(type(error).__name__)
        finally:
            if flight is self._flight:
                self._flight = None
                if self._queue:
                    self._launch()

    def _take(self, call: _Call, answer: Any) -> None:  # noqa: ANN401 - JSON
        self._asked.pop(call, None)
        if not call.answer.done():
            call.answer.set_result(answer)
        elif call.step.verb == "reserve" and answer[0] == 0:
            # Nobody waits for it any more.
            self._settle(_Step("settle", call.step.id, _released(call.step, answer[2])))

    def _lose(self, why: str) -> None:
        if self.answering:
            _log.warning("Redis is away, %s: limits are counted in each process alone", why)
        self.answering = False
        asked, self._asked, self._queue, self._flight = list(self._asked), {}, [], None
        for call in asked:
            if call.step.verb == "settle":
                self._unsettled.append(replace(call.step, again=call.step.again or call.sent))
            if not call.answer.done():
                call.answer.set_result(None)

    async def _run(self, steps: Sequence[_Step]) -> list[Any]:
        keys: dict[str, int] = {}
        told = [
            (
                step.verb,
                step.id,
                [(keys.setdefault(key, len(keys) + 1), *rest) for key, *rest in step.parts],
                step.again,
            )
            for step in steps
        ]
        given: tuple[Any, ...] = (*keys, int(LEASE_S * 1000), msgspec.json.encode(told))
        try:
            answer = await self._redis.evalsha(self._sha, len(keys), *given)
        except NoScriptError:
            answer = await self._redis.eval(self._script, len(keys), *given)
        answers: list[Any] = msgspec.json.decode(answer)
        return answers


def _join(process: str) -> _Step:
    return _Step("join", process, [(_PRESENCE,)])


def _renewed(held: Held) -> list[_Part]:
    """Return what keeps its leases; who was let in while Redis was away takes its place now."""
    buckets = held.buckets or [0] * len(held.demands)
    return [
        (limit.counter, limit.counting.kind, bucket, amount)
        for (limit, amount), bucket in zip(held.demands, buckets, strict=True)
        if limit.counting.kind == "c" or (limit.counting.kind == "t" and held.buckets)
    ]


def _settled(held: Held, tokens: int) -> list[_Part]:
    """Return what a reservation has taken; who was let in while Redis was away counts now."""
    parts: list[_Part] = []
    for place, (limit, reserved) in enumerate(held.demands):
        how = limit.counting
        if held.buckets is not None and how.kind == "q":
            continue
        counted = (0, 0) if held.buckets is None else (held.buckets[place], reserved)
        taken = tokens if how.kind == "t" else reserved
        parts.append((limit.counter, how.kind, how.width_ms, how.buckets, *counted, taken))
    return parts


def _released(reserve: _Step, standings: Sequence[tuple[int, int, int]]) -> list[_Part]:
    """Return the settlement of a reservation that took nothing."""
    return [
        (key, kind, width, buckets, bucket, amount, 0)
        for (key, kind, _, amount, width, buckets), (_, bucket, _) in zip(
            reserve.parts, standings, strict=True
        )
        if kind != "q"
    ]


def _still_counted(settle: _Step, now: float) -> list[_Part]:
    """Return what of a late settlement is of a window that has not passed meanwhile."""
    late_ms = (now - settle.at) * 1000
    return [
        part
        for part in settle.parts
        for _, kind, width, buckets, *_ in (part,)
        if kind == "c" or late_ms < width * buckets
    ]
