"""What a process may let through without asking: its shares, which Redis keeps from the others."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from gateway.govern.limits_rules import Demands, Limit
from gateway.govern.limits_steps import Spent, Step, now_ms

SILENT_MS = 3000
"""After so long Redis is silent to all, and hears on its return what was let in meanwhile."""

Remaining = tuple[Limit, int, int]
"""A limit, what remains of it as far as is known, and how many ms until all of it is free again,
if nobody asks."""

_NOTHING: Mapping[int, int] = {}

_MINUTE_MS = 60_000
_IDLE_S = 60.0


@dataclass(slots=True)
class _Share:
    """What of a counter is the process's; Redis keeps it until it hears that it was taken.

    Attributes:
        room: How far `taken` may go.
        taken: What was let in without asking since ever, less what was not needed after all.
        told: How much of that Redis counts, or is being told at this moment.
        sent: What was taken when Redis was last spoken to.
        asked: What Redis is being asked for: nobody else is given it meanwhile.
        left: What remained of the limit as Redis said last, and what was taken until then.
        untold: What was taken for good and Redis has not heard of, by the time.
        touched: It is among those of which Redis is to hear.
        kept: Redis keeps some of it from the others, perhaps.
        heard_at: When Redis spoke of it, by the process's clock.
        most: What the process may count in a window while Redis is away; None: it is there.
    """

    limit: Limit
    room: int = 0
    taken: int = 0
    told: int = 0
    sent: int = 0
    asked: int = 0
    left: int = 0
    untold: dict[int, int] = field(default_factory=dict)
    touched: bool = False
    kept: bool = False
    heard_at: float = 0.0
    most: int | None = None

    @property
    def free(self) -> int:
        return self.room - self.taken - self.asked

    @property
    def settled(self) -> bool:
        return self.taken == self.told and not (self.asked or self.touched or self.untold)

    def spend(self, at_ms: int, amount: int) -> None:
        if amount:
            at = at_ms // self.limit.counting.grain_ms
            self.untold[at] = self.untold.get(at, 0) + amount

    def release(self) -> None:
        self.room = self.taken + self.asked


class Shares:
    """The shares of one process, by counter.

    Redis keeps each from the others, and what was taken of it until it counts that; so all
    processes together let through no more than the limit, whoever of them hears Redis. Of a counter
    that nobody asked for lately there is none: it was given back.

    Attributes:
        catch_up: Called before anybody looks at them: who takes of them in sums adds those.
    """

    def __init__(self) -> None:
        self.catch_up: Callable[[], None] = lambda: None
        self._known: dict[str, _Share] = {}
        self._touched: list[_Share] = []

    @property
    def _shares(self) -> dict[str, _Share]:
        self.catch_up()
        return self._known

    def __bool__(self) -> bool:
        """Tell whether there are any."""
        return bool(self._known)

    @property
    def untold(self) -> bool:
        """Tell whether there is something that Redis has not heard of."""
        self.catch_up()
        return bool(self._touched)

    @property
    def covered(self) -> bool:
        """Tell whether nothing was taken beyond them."""
        return all(share.free >= 0 for share in self._shares.values())

    def look(self, limit: Limit) -> tuple[int, int] | None:
        """Return what may be taken of a limit, and what remains of it; None: nobody knows."""
        share = self._known.get(limit.counter)
        if share is None or share.limit.most != limit.most:
            return None  # of other rules, perhaps
        return share.free, share.left - share.taken

    def add(self, limit: Limit, taken: int, spent: Mapping[int, int] = _NOTHING) -> None:
        """Count what was taken in sum, and what of it is for good, by the time in ms."""
        share = self._known.get(limit.counter) or self._share(limit)
        share.taken += taken
        for at_ms, amount in spent.items():
            share.spend(at_ms, amount)
        if not share.touched:
            self._touch(share)

    def count(self, demands: Demands, at_ms: int) -> None:
        """Count what is let in without Redis, covered or not."""
        self.catch_up()
        for limit, amount in demands:
            requests = limit.counting.kind == "q"
            self.add(limit, amount, {at_ms: amount} if requests else _NOTHING)

    def settle(self, demands: Demands, tokens: int, at_ms: int) -> None:
        """Settle what was let in at `at_ms`, and Redis has not been told of."""
        self.catch_up()
        for limit, reserved in demands:
            if limit.counting.kind == "c":
                self.add(limit, -reserved)
            elif limit.counting.kind == "t":
                self.add(limit, tokens - reserved, {at_ms: min(tokens, reserved)})
                if tokens > reserved:
                    self.add(limit, 0, {now_ms(): tokens - reserved})

    def ask(self, demands: Demands) -> None:
        """Give to nobody what Redis is asked for."""
        self.catch_up()
        for limit, amount in demands:
            self._share(limit).asked += amount

    def answered(self, reserve: Step) -> None:
        """Go on: it was answered, or nobody waits for that any more."""
        for counter, _, _, amount, *_ in reserve.parts:
            self._shares[counter].asked -= amount

    def state(self, counter: str) -> tuple[int, int]:
        """Return what is free and what is taken untold, as Redis is told with every step."""
        share = self._shares.get(counter)
        if share is None:
            return 0, 0
        share.sent = share.taken
        return max(share.free, 0), share.taken - share.told

    def learn(self, counter: str, granted: int, remaining: int) -> None:
        """Take in what Redis says to the state that it was told."""
        share = self._shares.get(counter)
        if share is None:
            return
        share.kept = share.kept or granted > 0
        share.room, share.left = granted + share.sent, remaining + share.sent
        share.heard_at, share.most = time.monotonic(), None

    def spend(self, most: int) -> list[Spent]:
        """Return what of some counters Redis has to hear; it takes it for told."""
        self.catch_up()
        touched, self._touched = self._touched[:most], self._touched[most:]
        spent: list[Spent] = []
        now = time.monotonic()
        for share in touched:
            share.heard_at = now
            spent.append((share.limit, share.untold))
            share.told += sum(share.untold.values())
            share.untold, share.touched = {}, False
        return spent

    def tell(self, demands: Demands, sign: int = 1) -> None:
        """Take what is under way for told, or -1: take that back."""
        self.catch_up()
        for limit, amount in demands:
            if limit.counting.kind != "q":
                self._share(limit).told += sign * amount

    def forget(self, under_way: Iterable[Demands]) -> None:
        """Redis knows nothing; it is told what is over otherwise."""
        for share in self._shares.values():
            share.room -= share.taken
            share.left -= share.taken
            share.taken, share.told, share.sent, share.touched = 0, 0, 0, False
            share.untold.clear()
        self._touched.clear()
        for demands in under_way:
            for limit, amount in demands:
                if limit.counting.kind != "q":
                    share = self._share(limit)
                    share.taken += amount
                    share.room += amount
                    share.left += amount

    def alone(self, limit: Limit, used: int, part: int, away_ms: int) -> int | None:
        """Return how much more may be let through while Redis is away; None: nobody knows.

        `used` is what the process counts, `part` its part of the limit among all processes.
        """
        span = limit.counting.span_ms or _MINUTE_MS
        share = self._shares.get(limit.counter)
        if share is None or not share.heard_at or away_ms >= 2 * span:
            return None
        # Who is the only one has all that is left.
        free = share.free if part < limit.most else share.left - share.taken
        if share.most is None:
            share.most = used + free
        if away_ms < SILENT_MS:
            # Perhaps others hear Redis: what leaves our window may be theirs by now.
            return free
        if away_ms < span:
            return max(free, share.most - used)
        # What all have let in through Redis has left: who had more than a part makes room first.
        return min(share.most, part) - used

    def release(self) -> None:
        """Take nothing more before Redis has been asked."""
        for share in self._shares.values():
            share.release()

    def resume(self, *, covered: bool, forgotten: bool) -> None:
        """Go on; unless they are `covered`, Redis gives what it has from here on.

        A Redis that has `forgotten` them keeps none.
        """
        for share in self._shares.values():
            share.most = None
            if not covered:
                share.release()
                share.left = share.taken
            share.kept = share.kept and not forgotten

    def give_back(self, wanted: Sequence[str]) -> list[str]:
        """Give up what others want, and what nobody has asked for; return what Redis keeps of it.

        Of what others want the process knows that there is none for it.
        """
        now = time.monotonic()
        idle = {c for c, share in self._shares.items() if now - share.heard_at > _IDLE_S}
        asked = set(wanted)
        given = [
            c for c in idle | asked if c in self._shares and (c in asked or self._shares[c].kept)
        ]
        for counter in given:
            self._shares[counter].release()
            self._shares[counter].kept = False
        for counter in idle:
            if self._shares[counter].settled:
                del self._shares[counter]
        return given

    def _touch(self, share: _Share) -> None:
        share.touched = True
        self._touched.append(share)

    def _share(self, limit: Limit) -> _Share:
        share = self._known.get(limit.counter)
        if share is None:
            share = self._known[limit.counter] = _Share(limit)
        share.limit = limit
        return share
