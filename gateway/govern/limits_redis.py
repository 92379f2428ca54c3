"""The counters of all processes, in Redis: a script that many requests share, and a breaker."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import redis.asyncio

from gateway.govern.limits_rules import Demands
from gateway.govern.limits_script import LEASE_S, PRESENCE, PROBE_S, SCRIPT, Script
from gateway.govern.limits_shares import SILENT_MS
from gateway.govern.limits_steps import (
    Held,
    Outcome,
    Past,
    Standing,
    Step,
    counting_past,
    now_ms,
    release,
    renewal,
    reservation,
    settlement,
    still_counted,
)
from gateway.govern.limits_telling import Telling

_TICK_S = 0.01
_COMPANY_S = 0.002
_TELL_S = 0.05
_LONG_MS = 1000
_MARGIN_S = 1.0
_PATIENCE_TICKS = 5
_PATIENCE_OF_NOBODY_TICKS = 50
_CLOSE_S = 0.5
_MOST_STEPS = 64
_MOST_UNSETTLED = 10_000
_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Call:
    step: Step
    answer: "asyncio.Future[Any]"
    since: int
    sent: bool = False
    heard: bool = False


@dataclass(frozen=True, slots=True)
class _Batch:
    """What went together, behind so many steps that tell; and which memory Redis had then."""

    number: int
    calls: Sequence[_Call]
    telling: int
    memory: str


@dataclass(frozen=True, slots=True)
class Joined:
    """What a process learns when it says that it is there.

    Attributes:
        memory: Which one Redis has: another one once it was wiped.
        forgot: It is not the one that it was.
        wait_ms: How long until it lets anybody in.
    """

    memory: str
    forgot: bool
    wait_ms: int


def _patience(call: _Call) -> int:
    return _PATIENCE_TICKS if call.step.verb == "reserve" else _PATIENCE_OF_NOBODY_TICKS


class Counters:
    """Takes steps in Redis; what is asked while others are on their way is sent together.

    Attributes:
        script: What they are taken with; what this process may let through by itself is there.
    """

    def __init__(self, cache: "redis.asyncio.Redis", script: str = SCRIPT) -> None:
        self.script = Script(cache, script)
        self._queue: list[_Call] = []
        self._asked: dict[_Call, None] = {}
        self._last: _Batch | None = None
        self._flight: asyncio.Task[None] | None = None
        self._flights: set[asyncio.Task[None]] = set()
        self._soon: asyncio.TimerHandle | None = None
        self._due: asyncio.TimerHandle | None = None
        self._ticks = 0
        self._ticking: asyncio.TimerHandle | None = None
        self._telling = Telling(self.script.shares)
        self._unsettled: deque[Step] = deque(maxlen=_MOST_UNSETTLED)
        self._present_until = 0.0
        self._probed_at = 0.0
        self._lost_at: float | None = None
        self._returned = False

    @property
    def answering(self) -> bool:
        """Tell whether Redis was there when it was last asked."""
        return self._lost_at is None

    @property
    def away_ms(self) -> int:
        """Return for how long it has been away; 0: it is there."""
        return 0 if self._lost_at is None else int((time.monotonic() - self._lost_at) * 1000)

    @property
    def by_shares(self) -> bool:
        """Tell whether what the shares cover may be let in without asking."""
        return self._present if self.answering else self.away_ms < SILENT_MS

    async def reserve(self, id_: str, demands: Demands) -> Outcome | None:
        """Reserve at every counter or at none; None: Redis is away, which takes 50 ms at most."""
        if self.answering:
            self.script.shares.ask(demands)
        answer = await self._ask(reservation(id_, demands))
        if answer is None:
            return None
        refusing, wait, standings, withheld = answer
        return Outcome(
            refusing - 1 if refusing else None,
            wait if wait >= 0 else None,
            [Standing(*each) for each in standings],
            bool(withheld),
        )

    def settle(self, held: Held, tokens: int) -> None:
        """Settle a reservation; where Redis is away, when it is back."""
        held.taken = tokens
        if held.told:
            return
        if held.buckets is None:
            self.script.shares.settle(held.demands, tokens, held.at_ms)
            self.tell_soon()
        elif step := settlement(held, tokens):
            self._settle(step)

    async def give_back(self) -> None:
        """Give back the shares that somebody else needs, and those that nobody has asked for."""
        wanted = await self._ask(Step("wanted", "", [])) if self.script.shares else ()
        if kept := self.script.shares.give_back(wanted or ()):
            self._ask(Step("yield", "", [(counter,) for counter in kept]))

    async def renew(self, held: Sequence[Held]) -> None:
        """Say what is under way; what is so for long, with a lease of its own from now on."""
        for each in held:
            if each.buckets is None and now_ms() - each.at_ms >= _LONG_MS:
                self._telling.add(each)
        if step := renewal(each for each in held if each.buckets is not None):
            await self._ask(step)

    async def beat(self) -> None:
        """Say that the process is there."""
        asked_at = time.monotonic()
        if answer := await self._ask(self._join(0)):
            joined = self._learn(answer)
            if joined.forgot or joined.wait_ms:
                self._lose("it was wiped, or silent")
            else:
                self._is_present(asked_at)

    async def probe(self) -> Joined | None:
        """See whether Redis is there again; None: it is not."""
        away_ms = 0 if self._returned else self.away_ms
        self._probed_at = time.monotonic()
        try:
            async with asyncio.timeout(PROBE_S):
                (answer,) = await self.script.run([self._join(away_ms)])
        except Exception:  # noqa: BLE001 - redis raises anything where another server answers
            return None
        self._returned = True
        self._hear_late(*answer[3:])
        return self._learn(answer)

    @property
    def untold(self) -> bool:
        """Tell whether there is something that Redis has not counted, beside what is under way."""
        return bool(self._telling)

    async def tell(self, held: Sequence[Held]) -> None:
        """Tell Redis what was let in while it was away, of which these are under way.

        Raises:
            Exception: It is away again.
        """
        for each in held:
            self._telling.add(each)
        while steps := self._telling.steps():
            try:
                ended = self._telling.heard(await self.script.run(steps))
            except BaseException:
                self._telling.unheard()
                raise
            if ended is None:
                raise ConnectionError("Redis was wiped again")
            self._unsettled.extend(ended)

    async def tell_past(self, past: Sequence[Past]) -> None:
        """Tell a Redis that has forgotten it what was let in before.

        Raises:
            Exception: It is away again.
        """
        self._unsettled.clear()
        self._telling.forget()
        for start in range(0, len(past), _MOST_STEPS):
            await self.script.run(
                [counting_past(each) for each in past[start : start + _MOST_STEPS]]
            )

    @property
    def covered(self) -> bool:
        """Tell whether Redis keeps all that was let in, however much of it it has been told."""
        return self._present and self.script.shares.covered

    @property
    def _present(self) -> bool:
        return time.monotonic() <= self._present_until

    def remember(self, memory: str) -> None:
        """Take it that what Redis has in mind now is all that there is to know."""
        self.script.memory = memory

    def resume(self) -> None:
        """Ask Redis again from here on."""
        _log.info("Redis answers again: limits are counted over all processes")
        self._lost_at = None
        self._is_present(self._probed_at)
        late, self._unsettled = self._unsettled, deque(maxlen=_MOST_UNSETTLED)
        for each in late:
            if step := still_counted(each, time.monotonic()):
                self._ask(step)
        self.tell_soon()

    async def close(self) -> None:
        """Tell Redis what it has not heard, and that this process is no more; a moment at most."""
        self._present_until = 0.0
        self._ask(Step("leave", self.script.process, []))
        async with asyncio.timeout(_CLOSE_S):
            while self._flights:
                await asyncio.wait(self._flights)
        if self._due:
            self._due.cancel()

    def _join(self, away_ms: int) -> Step:
        return Step("join", self.script.process, [(PRESENCE,)], more=away_ms)

    def _is_present(self, asked_at: float) -> None:
        """Redis keeps the shares of who says often enough that it is there."""
        if not self._present:
            self.script.shares.release()
        self._present_until = asked_at + LEASE_S - _MARGIN_S

    def _hear_late(self, number: int, answer: str) -> None:
        """Hear what Redis answered to the last batch, where that never came."""
        if self._last and number == self._last.number:
            self._take_all(self._last, msgspec.json.decode(answer)[1])

    def _learn(self, answer: Sequence[Any]) -> Joined:
        self.script.processes, memory, wait_ms, *_ = answer
        self.script.memory = self.script.memory or memory
        return Joined(memory, memory != self.script.memory, wait_ms)

    def _settle(self, step: Step) -> None:
        if not self.answering:
            self._unsettled.append(step)
        self._ask(step)

    def _ask(self, step: Step) -> "asyncio.Future[Any]":
        """Take a step; the answer is None where Redis is away."""
        loop = asyncio.get_running_loop()
        call = _Call(step, loop.create_future(), self._ticks)
        if not self.answering:
            call.answer.set_result(None)
            return call.answer
        self._queue.append(call)
        self._asked[call] = None
        if self._flight is None:
            if step.verb == "settle":
                self._launch_soon(loop)
            else:
                self._launch()
        if self._ticking is None:
            self._ticking = loop.call_later(_TICK_S, self._tick)
        return call.answer

    def _tick(self) -> None:
        """Count turns of the loop, not time: that we are busy must not look like Redis' fault."""
        self._ticks += 1
        self._ticking = None
        if any(self._ticks - call.since >= _patience(call) for call in self._asked):
            self._lose("it is silent")
        elif self._asked:
            self._ticking = asyncio.get_running_loop().call_later(_TICK_S, self._tick)

    def _launch_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let what nobody waits for go with the next that somebody waits for, if that comes."""
        if self._soon is None:
            self._soon = loop.call_later(_COMPANY_S, self._launch)

    def tell_soon(self) -> None:
        """Tell Redis what was taken of the shares.

        Nobody waits for it; the next that somebody waits for takes it along.
        """
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(_TELL_S, self._tell)

    def _tell(self) -> None:
        self._due = None
        if self._flight and self._telling:
            self.tell_soon()
        else:
            self._launch()

    def _launch(self) -> None:
        soon, self._soon = self._soon, None
        if soon:
            soon.cancel()
        if self._flight or not self.answering or not (self._queue or self._telling):
            return
        self._flight = asyncio.create_task(self._fly())
        self._flights.add(self._flight)
        self._flight.add_done_callback(self._flights.discard)

    async def _fly(self) -> None:
        """Send what has gathered by now; what gathers meanwhile goes with the next."""
        flight = self._flight
        calls, self._queue = self._queue[:_MOST_STEPS], self._queue[_MOST_STEPS:]
        for call in calls:
            call.sent = True
        telling, number = self._telling.steps(), self.script.next_call()
        batch = self._last = _Batch(number, calls, len(telling), self.script.memory)
        try:
            answers = await self.script.run([*telling, *(call.step for call in calls)], number)
            told = self._heard(answers[: len(telling)]) if flight is self._flight else True
            self._take_all(batch, answers)
            if not (told and None not in answers) and flight is self._flight:
                self._lose("it was wiped, or silent")
        except Exception as error:  # noqa: BLE001 - redis raises anything where another answers
            if flight is self._flight:
                self._lose(type(error).__name__)
        finally:
            if flight is self._flight:
                self._flight = None
                if self._queue:
                    self._launch()
                elif self._telling and self.answering:
                    self.tell_soon()

    def _heard(self, answers: Sequence[Any]) -> bool:
        ended = self._telling.heard(answers)
        for step in ended or ():
            self._settle(step)
        return ended is not None

    def _take_all(self, batch: _Batch, answers: Sequence[Any]) -> None:
        for call, answer in zip(batch.calls, answers[batch.telling :], strict=True):
            if not call.heard:
                call.heard = True
                self._take(call, answer, batch.memory)

    def _take(self, call: _Call, answer: Any, memory: str) -> None:  # noqa: ANN401 - JSON
        if call in self._asked:
            del self._asked[call]
            if call.step.verb == "reserve":
                self._learn_shares(call.step, answer)
        if not call.answer.done():
            call.answer.set_result(answer)
        elif (
            call.step.verb == "reserve"
            and answer
            and answer[0] == 0
            and memory == self.script.memory
        ):
            # Nobody waits for it any more.
            self._settle(release(call.step, answer[2]))

    def _learn_shares(self, reserve: Step, answer: Any) -> None:  # noqa: ANN401 - JSON
        self.script.shares.answered(reserve)
        if answer:
            for (counter, *_), standing in zip(reserve.parts, answer[2], strict=True):
                self.script.shares.learn(counter, standing[3], standing[0])

    def _lose(self, why: str) -> None:
        if self.answering:
            _log.warning("Redis is away, %s: limits are counted in each process alone", why)
            self._lost_at, self._returned = time.monotonic(), False
        asked, self._asked, self._queue, self._flight = list(self._asked), {}, [], None
        self._telling.unheard()
        for call in asked:
            if call.step.verb == "reserve":
                self.script.shares.answered(call.step)
            if call.step.verb == "settle":
                self._unsettled.append(replace(call.step, more=bool(call.step.more or call.sent)))
            if not call.answer.done():
                call.answer.set_result(None)
