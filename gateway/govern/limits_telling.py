"""What a process let in without asking, on its way to Redis: each of it is counted once."""

from collections.abc import Sequence
from typing import Any

from gateway.govern.limits_shares import Shares
from gateway.govern.limits_steps import Held, Spent, Step, counting, settlement, spending

_MOST_COUNTERS = 256
_MOST_HELD = 32


class Telling:
    """Tells Redis what was taken of the shares, and what of it is under way for long.

    What is over by then is told in sums. Where nobody hears whether that was counted, it is sent
    again by the same number. Only one may be on its way.
    """

    def __init__(self, shares: Shares) -> None:
        self._shares = shares
        self._number = 0
        self._spent: list[Spent] | None = None
        self._waiting: dict[Held, None] = {}
        self._held: list[Held] = []

    def __bool__(self) -> bool:
        """Tell whether there is anything to tell."""
        return bool(self._waiting or self._spent is not None or self._shares.untold)

    def add(self, held: Held) -> None:
        """Tell of a reservation that is under way, with the next steps."""
        self._waiting[held] = None

    def steps(self) -> list[Step]:
        """Return what is to be sent; `heard` or `unheard` follows."""
        if not self:
            return []
        waiting = [held for held in self._waiting if held.buckets is None and held.taken is None]
        # What is sent again goes alone: it may have been counted, nothing that comes with it was.
        self._held = waiting[:_MOST_HELD] if self._spent is None else []
        self._waiting = dict.fromkeys(waiting[len(self._held) :])
        if self._spent is None:
            self._number += 1
            self._spent = self._shares.spend(_MOST_COUNTERS)
        for held in self._held:
            held.told = True
            self._shares.tell(held.demands)
        return [spending(self._number, self._spent), *map(counting, self._held)]

    def heard(self, answers: Sequence[Any]) -> list[Step] | None:
        """Take in the answers; return settlements of what ended meanwhile.

        None: Redis has forgotten, and counted nothing.
        """
        if not answers:
            return []
        spent, *counted = answers
        if spent is None:
            self.unheard()
            return None
        for (limit, _), standing in zip(self._spent or (), spent, strict=True):
            self._shares.learn(limit.counter, standing[3], standing[0])
        self._spent = None
        ended = [
            step
            for held, standings in zip(self._held, counted, strict=True)
            if (step := self._counted(held, standings))
        ]
        self._held = []
        return ended

    def unheard(self) -> None:
        """Nobody knows whether it was counted: what is under way gets another name."""
        for held in self._held:
            self._not_counted(held)
        self._held = []

    def forget(self) -> None:
        """Redis has forgotten, and is told otherwise."""
        self._spent, self._waiting = None, {}

    def _counted(self, held: Held, standings: Sequence[Sequence[int]] | None) -> Step | None:
        if standings is None:
            self._not_counted(held)
            return None
        held.told = False
        left = iter(standings)
        held.buckets = []
        for limit, _ in held.demands:
            if limit.counting.kind == "q":
                held.buckets.append(0)
                continue
            remaining, bucket, _, share = next(left)
            held.buckets.append(bucket)
            self._shares.learn(limit.counter, share, remaining)
        return None if held.taken is None else settlement(held, held.taken)

    def _not_counted(self, held: Held) -> None:
        held.told = False
        held.id += "+"
        self._shares.tell(held.demands, -1)
        if held.taken is not None:
            self._shares.settle(held.demands, held.taken, held.at_ms)
