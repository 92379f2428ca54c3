"""Limits of requests, tokens and concurrency: reserved before, settled once after."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from config.tasks import end_task
from gateway.govern.charge import Charge
from gateway.govern.limits_headers import nearest_headers, refusal, standing_headers
from gateway.govern.limits_quotas import Quotas, Taken
from gateway.govern.limits_redis import Counters
from gateway.govern.limits_rules import Demands, Limit, Rules, demands, worst_case
from gateway.govern.limits_steps import Held, Outcome, now_ms
from gateway.govern.limits_window import Here

_LOOK_S = 0.25
_BEAT_S = 2.0
_AT_ONCE = 128
_GIVEN_BACK_S = 0.05
_GIVEN_BACK_TIMES = 20


class Limiter:
    """Lets requests in, or refuses them; one per process.

    Attributes:
        rules: Whoever learns of new ones puts them here.
    """

    def __init__(
        self, rules: Rules, counters: Counters, *, assumed_answer_tokens: int, workers: int
    ) -> None:
        self.rules = rules
        self._counters = counters
        self._assumed_answer_tokens = assumed_answer_tokens
        self._fewest = counters.script.processes = workers
        self._here = Here()
        self._shares = counters.script.shares
        self._quotas = Quotas(self._shares, self._here)
        self._reservations: dict[str, Held] = {}
        self._forgotten = False

    async def reserve(self, charge: Charge) -> None:
        """Reserve what the request may take of every limit that applies to it.

        Raises:
            LimitReached: It would go over one of them; nothing is reserved.
        """
        asked = charge.asked
        limits = self.rules.of(charge.scope, *asked.models)
        if not limits:
            return
        if not (self._counters.by_shares and self._let_in(charge, limits)):
            await self._reserve(charge, demands(limits, asked, self._assumed_answer_tokens))

    def _let_in(self, charge: Charge, limits: tuple[Limit, ...]) -> bool:
        """Let the request in by this process's shares, if they cover it."""
        asked, at_ms = charge.asked, now_ms()
        tokens = worst_case(asked, self._assumed_answer_tokens)
        taken = self._quotas.take(limits, tokens, asked.context_tokens, at_ms, stream=asked.stream)
        if taken is None:
            return False
        self._counters.tell_soon()
        charge.exchange.headers.update(nearest_headers(*taken.caller.nearest_now()))
        self._reservations[charge.id] = Held(charge.id, taken, None, here_ms=at_ms, at_ms=at_ms)
        return True

    async def _reserve(self, charge: Charge, asked: Sequence[tuple[Limit, int]]) -> None:
        """Ask Redis; where it is away, go by what is counted here."""
        if not asked:
            return
        id_, outcome = await self._ask(charge.id, asked)
        alone = outcome is None
        if outcome is None:
            away_ms = self._counters.away_ms
            outcome = self._here.look(asked, self._counters.script.processes, self._shares, away_ms)
        stands = zip(asked, outcome.standings, strict=False)
        charge.exchange.headers.update(
            standing_headers((limit, each.remaining, each.reset_ms) for (limit, _), each in stands)
        )
        if outcome.refusing is not None:
            raise refusal(asked, outcome, outcome.refusing)
        if alone:
            self._shares.count(asked, now_ms())
        buckets = None if alone else [each.bucket for each in outcome.standings]
        held = self._reservations[charge.id] = Held(id_, asked, buckets)
        held.here_ms = self._here.take(asked)

    async def _ask(self, id_: str, asked: Demands) -> tuple[str, Outcome | None]:
        """Reserve in Redis; wait where others give back soon what they do not need.

        Return under which id it is, too: an unanswered question may yet be answered, and released.
        """
        for _ in range(_GIVEN_BACK_TIMES):
            outcome = await self._counters.reserve(id_, asked)
            if outcome is None:
                id_ += "+"
                if not self._counters.answering:
                    break
            elif outcome.withheld:
                await asyncio.sleep(_GIVEN_BACK_S)
            else:
                break
        return id_, outcome

    def settle(self, charge: Charge) -> None:
        """Settle what the request took; nothing to do for who was not limited."""
        held = self._reservations.pop(charge.id, None)
        if held is None:
            return
        tokens = sum(attempt.usage.total_tokens for attempt in charge.attempts)
        taken = held.demands
        if isinstance(taken, Taken) and held.by_shares:
            held.taken = tokens
            self._quotas.settle(taken, tokens, held.at_ms, now_ms())
            self._counters.tell_soon()
        else:
            self._here.settle(taken, held.here_ms, tokens)
            self._counters.settle(held, tokens)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Say to the other processes what is under way here, while the context is open."""
        if not self.rules.empty:
            await self._beat()
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            await end_task(task)
            with suppress(TimeoutError):
                await self._counters.close()

    async def _run(self) -> None:
        last = 0.0
        while True:
            await asyncio.sleep(_LOOK_S)
            if self.rules.empty and not self._reservations:
                continue
            if not self._counters.answering:
                await self._return()
                continue
            await self._counters.give_back()
            if time.monotonic() - last >= _BEAT_S:
                last = time.monotonic()
                await self._beat()
                self._here.sweep()

    async def _beat(self) -> None:
        ids = list(self._reservations)
        for start in range(0, len(ids), _AT_ONCE):
            some = map(self._reservations.get, ids[start : start + _AT_ONCE])
            await self._counters.renew([held for held in some if held])
            await asyncio.sleep(0)  # thousands in one go would hold the event loop up
        await self._counters.beat()
        self._counters.script.processes = max(self._fewest, self._counters.script.processes)

    async def _return(self) -> None:
        """Where Redis is there again, tell it what was let in meanwhile; then ask it again.

        What the shares cover, Redis has kept, if it was not away for long.
        """
        joined = await self._counters.probe()
        if joined is None:
            return
        self._counters.script.processes = max(self._fewest, self._counters.script.processes)
        try:
            if joined.forgot:
                self._forgotten = True
                await self._tell_all()
                self._counters.remember(joined.memory)
            covered = self._counters.covered and not (self._forgotten or joined.wait_ms)
            if not covered:
                await self._tell_new()
        except Exception:  # noqa: BLE001 - redis raises anything where another server answers
            return
        if not joined.wait_ms:
            self._shares.resume(covered=covered, forgotten=self._forgotten)
            self._counters.resume()
            self._forgotten = False

    async def _tell_all(self) -> None:
        """Tell Redis, which has forgotten them, of all that counts here."""
        open_ = list(self._reservations.values())
        for each in open_:
            each.buckets = None
        self._shares.forget(each.demands for each in open_)
        await self._counters.tell_past(self._here.past((x.demands, x.here_ms) for x in open_))

    async def _tell_new(self) -> None:
        """Tell Redis of all that it has not counted; what comes meanwhile its shares must cover."""
        told = False
        while not (told and self._shares.covered):
            untold = [each for each in self._reservations.values() if each.buckets is None]
            if not (untold or self._counters.untold):
                return
            await self._counters.tell(untold)
            told = True
