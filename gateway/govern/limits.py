"""Limits of requests, tokens and concurrency: reserved before, settled once after."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from config.tasks import end_task
from gateway.govern.charge import Charge
from gateway.govern.limits_headers import refusal, standing_headers
from gateway.govern.limits_redis import Counters, Held
from gateway.govern.limits_rules import Rules, demands
from gateway.govern.limits_window import Here

_LOOK_S = 0.25
_BEAT_S = 2.0


@dataclass(frozen=True, slots=True)
class _Reservation:
    held: Held
    here: list[int]


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
        self._fewest = self._workers = workers
        self._here = Here()
        self._reservations: dict[str, _Reservation] = {}
        self._process = uuid.uuid4().hex

    async def reserve(self, charge: Charge) -> None:
        """Reserve what the request may take of every limit that applies to it.

        Raises:
            LimitReached: It would go over one of them; nothing is reserved.
        """
        limits = self.rules.of(charge.scope, *charge.asked.models)
        asked = demands(limits, charge.asked, self._assumed_answer_tokens)
        if not asked:
            return
        outcome = await self._counters.reserve(charge.id, asked)
        known = outcome is not None
        if outcome is None:
            outcome = self._here.look(asked, self._workers)
        charge.exchange.headers.update(standing_headers(asked, outcome))
        if outcome.refusing is not None:
            raise refusal(asked, outcome, outcome.refusing)
        buckets = [standing.bucket for standing in outcome.standings] if known else None
        held = Held(charge.id, asked, buckets)
        self._reservations[charge.id] = _Reservation(held, self._here.take(asked))

    def settle(self, charge: Charge) -> None:
        """Settle what the request took; nothing to do for who was not limited."""
        reservation = self._reservations.pop(charge.id, None)
        if reservation is None:
            return
        tokens = sum(attempt.usage.total_tokens for attempt in charge.attempts)
        self._here.settle(reservation.held.demands, reservation.here, tokens)
        self._counters.settle(reservation.held, tokens)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Say to the other processes what is under way here, while the context is open."""
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
                count = await self._counters.probe(self._process)
            elif time.monotonic() - last >= _BEAT_S:
                last = time.monotonic()
                held = [reservation.held for reservation in self._reservations.values()]
                count = await self._counters.beat(self._process, held)
                self._here.sweep()
            else:
                continue
            self._workers = max(self._fewest, count) if count else self._workers
