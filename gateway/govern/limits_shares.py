"""What a process may let through without Redis: its shares, which Redis keeps from the others."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.govern.limits_rules import Demands, Limit

SILENT_MS = 3000
"""After so long Redis is silent to all, and hears on its return what was let in meanwhile."""

_MINUTE_MS = 60_000
_IDLE_S = 60.0


@dataclass(slots=True)
class _Share:
    """What of a counter is the process's.

    Attributes:
        granted: What Redis said last.
        free: What is left of that.
        kept: Redis keeps some of it from the others, perhaps.
        asked_at: When somebody asked for it, by the process's clock.
        most: What the process may count in a window while Redis is away; None: it is there.
    """

    granted: int = 0
    free: int = 0
    kept: bool = False
    asked_at: float = 0.0
    most: int | None = None


class Shares:
    """The shares of one process, by counter.

    What is taken of one was counted in Redis before, so that all processes together let through no
    more than the limit whoever of them hears Redis. Of a counter that nobody asked for lately there
    is none: it was given back.
    """

    def __init__(self) -> None:
        self._shares: dict[str, _Share] = {}

    def __bool__(self) -> bool:
        """Tell whether there are any."""
        return bool(self._shares)

    def free(self, counter: str) -> int:
        """Return what is left of a share, as Redis is told with every step that may change it."""
        share = self._shares.get(counter)
        return share.free if share else 0

    def learn(self, counter: str, granted: int) -> None:
        """Take in what Redis says."""
        share = self._shares.setdefault(counter, _Share())
        share.kept = share.kept or granted > 0
        share.granted = share.free = granted
        share.asked_at, share.most = time.monotonic(), None

    def room(self, limit: Limit, used: int, part: int, away_ms: int) -> int | None:
        """Return how much more may be let through; None: nobody knows.

        `used` is what the process counts, `part` its part of the limit among all processes.
        """
        span = limit.counting.span_ms or _MINUTE_MS
        share = self._shares.get(limit.counter)
        if share is None or away_ms >= 2 * span:
            return None
        if share.most is None:
            share.most = used + share.free
        if away_ms < SILENT_MS:
            # Perhaps others hear Redis: what leaves our window may be theirs by now.
            return share.free
        if away_ms < span:
            return max(share.free, share.most - used)
        # What all have let in through Redis has left: who had more than a part makes room first.
        return min(share.most, part) - used

    def take(self, demands: Demands) -> None:
        """Take what was let in without Redis off the shares."""
        for limit, amount in demands:
            if share := self._shares.get(limit.counter):
                share.free = max(share.free - amount, 0)

    def settle(self, demands: Demands, tokens: int) -> None:
        """Return what of a request that was let in without Redis was not needed after all."""
        for limit, reserved in demands:
            share = self._shares.get(limit.counter)
            if share and limit.counting.kind != "q":
                left = reserved - (tokens if limit.counting.kind == "t" else 0)
                share.free = max(min(share.free + left, share.granted), 0)

    def resume(self, *, forgotten: bool) -> None:
        """Go on as Redis says from here on; a Redis that has `forgotten` them keeps none."""
        for share in self._shares.values():
            share.most = None
            if forgotten:
                share.granted, share.free, share.kept = 0, 0, False

    def give_back(self, wanted: Sequence[str]) -> list[str]:
        """Give up what others want, and what nobody has asked for; return what Redis keeps of it.

        Of what others want the process knows that there is none for it.
        """
        now = time.monotonic()
        idle = {c for c, share in self._shares.items() if now - share.asked_at > _IDLE_S}
        given = [c for c in {*idle, *wanted} if c in self._shares and self._shares[c].kept]
        for counter in given:
            share = self._shares[counter]
            share.granted, share.free, share.kept = 0, 0, False
        for counter in idle:
            del self._shares[counter]
        return given
