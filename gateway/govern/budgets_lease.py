"""A lease: what a process may spend of one period of one budget. No clock and no store in here."""

import math
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from config.scope import TenantScope

TTL_S = 15.0
"""How long a lease holds by the database's clock, from each renewal on."""

_MARGIN_S = 3.0
_IDLE_S = 60.0
_SLACK = 8
_PLENTY = 32

Period = Literal["day", "month"]


class Key(NamedTuple):
    """Whose spending a lease is for: a budget, and of whom where that is everybody's apart."""

    budget: str
    client: str
    end_user: str


@dataclass(frozen=True, slots=True)
class Budget:
    """What may be spent in a period.

    Attributes:
        client: Whose spending counts: empty for everybody's together, `*` for everybody's apart.
        end_user: The same, of a client's end users.
        amount: Nano-dollars.
    """

    id: str
    tenant: str
    client: str
    end_user: str
    period: Period
    amount: int

    def __str__(self) -> str:
        whose = "the end user's" if self.end_user else "the client's" if self.client else "the"
        return f"{whose} budget of this {self.period}"


@dataclass(frozen=True, slots=True)
class Ask:
    """What a process asks for: that a lease holds `want` in all.

    Attributes:
        period: None for the one that it is now.
        number: Grows with every question about the lease.
        slack: How much of it is for later.
        safe: How much is surely not used, should the process die.
    """

    tenant: str
    key: Key
    period: int | None
    lease: str
    number: int
    want: int
    slack: int
    safe: int


@dataclass(frozen=True, slots=True)
class Grant:
    """What it gets: `granted` in all.

    Attributes:
        ends_in_s: When the period is over.
        unspent: What is not spent of the budget; some of it is leased to this and other processes.
    """

    period: int
    ends_in_s: float
    granted: int
    unspent: int


def key_of(budget: Budget, scope: TenantScope) -> Key:
    """Return whose spending it is when this caller spends."""
    client = scope.client if budget.client else ""
    return Key(budget.id, client, scope.end_user if budget.end_user else "")


class Lease:
    """One process's part of one period of a budget.

    Attributes:
        bookings: Where costs are to be booked: its period and its id, once it is granted.
        free: What nothing is reserved for; below 0 where answers took more than was reserved.
        ends_at: When the period is over, by the process's clock.
        dry_until: Until when asking for more is pointless.
        retired: Nothing is reserved from it any more.
        scarce: It got less than it needed: others may lack what it holds.
        wake: Is called when something of that is free again.
    """

    def __init__(self, budget: Budget, key: Key, owner: str = "") -> None:
        self.id = f"{owner}{uuid.uuid4().hex}"
        self.budget = budget
        self.key = key
        self.period: int | None = None
        self.bookings: tuple[tuple[int, str], ...] = ()
        self.free = 0
        self.unspent = budget.amount
        self.ends_at = math.inf
        self.dry_until = -math.inf
        self.retired = False
        self.scarce = False
        self.wake: Callable[[], None] | None = None
        self._needed = 0
        self._granted = 0
        self._number = 0
        self._usable_until = -math.inf
        self._holds: set[Hold] = set()
        self._safe = 0
        self._largest = 0
        self._reserved = 0
        self._peak = 0
        self._spent = 0
        self._used = False
        self._used_at = math.inf

    @property
    def order(self) -> tuple[str, Key, int]:
        """Return its place among the rows that are locked."""
        return self.budget.tenant, self.key, self.period or 2**62

    @property
    def holds(self) -> Iterable["Hold"]:
        """Return what is reserved from it."""
        return self._holds

    @property
    def needs_renewal(self) -> bool:
        """Tell whether something is reserved from it, or could be returned."""
        return bool(self._holds) or self.free > 0 or (self.free < 0 and not self.retired)

    @property
    def used(self) -> float:
        """Return which part of the budget is spent, as far as is known."""
        return 1 - self.unspent / self.budget.amount if self.budget.amount else 1.0

    @property
    def elsewhere(self) -> int:
        """Return what other processes have of it, reserved or idle, as far as is known."""
        return self.unspent - self.free - self._reserved

    def available(self, now: float) -> int:
        """Return what can be reserved; nothing of a lease that may have expired."""
        return self.free if now < self._usable_until and not self.retired else 0

    def alive(self, now: float) -> bool:
        """Tell whether what is reserved from it is surely still so."""
        return now < self._usable_until and self.free >= 0

    def asks_for(self, most: int, now: float) -> bool:
        """Tell whether reserving `most` needs a word with the database."""
        return self.available(now) < most and now >= self.dry_until

    def long_idle(self, now: float) -> bool:
        """Tell whether it was not used for a minute."""
        return not self.needs_renewal and now - self._used_at > _IDLE_S

    def growth(self, most: int) -> Ask:
        """Ask for what `most` lacks, and a little more."""
        need = max(most - self.free, 0)
        slack = _SLACK * most if need else 0
        return self._ask(self._granted + need + slack, slack)

    def renewal(self) -> Ask:
        """Ask for what is in use and what may be until the next time, return the rest."""
        kept = self._foreseen() if self._used and not self.retired else 0
        self._used, self._peak, self._spent = False, self._reserved, 0
        if self.free < 0:
            return self._ask(self._granted - self.free, 0)
        more = max(kept - self.free, 0)
        # What is on its way back can't be reserved meanwhile, whether the answer comes or not.
        self._granted -= max(self.free - kept, 0)
        self.free = min(self.free, kept)
        return self._ask(self._granted + more, more)

    def _foreseen(self) -> int:
        """Return what should be free: as much as since the last time, and a little more."""
        foreseen = self._peak - self._reserved + self._spent + _SLACK * self._largest
        return min(foreseen, max(self.unspent, 0) // _PLENTY)

    def take(self, grant: Grant, asked_at: float) -> None:
        """Take in an answer; `asked_at` is when the question was sent, by the process's clock."""
        self.scarce = grant.granted < self._needed
        self.free += grant.granted - self._granted
        self._granted = grant.granted
        self.period = grant.period
        self.bookings = ((grant.period, self.id),)
        self.unspent = grant.unspent
        self.ends_at = asked_at + grant.ends_in_s
        # What was reserved in a period is settled in it, however long that takes.
        self._usable_until = asked_at + TTL_S - _MARGIN_S
        for hold in self._holds:
            hold.bound = hold.exposure
        self._used_at = asked_at

    def budget_gone(self) -> None:
        """Take in that the budget was deleted: nothing bounds what is under way."""
        self._holds.clear()
        self.free = self._granted = self._reserved = self._safe = 0
        self.retired = True

    def reserve(self, hold: "Hold") -> None:
        """Reserve what is held."""
        amount = hold.amount
        self.free -= amount
        self._holds.add(hold)
        self._used = True
        self._reserved = reserved = self._reserved + amount
        self._peak = max(self._peak, reserved)
        self._largest = max(self._largest * 7 // 8, amount)

    def settle(self, hold: "Hold", cost: int) -> None:
        """Take what was reserved for the hold, all but `cost`, back."""
        if hold in self._holds:
            amount = hold.amount
            self._holds.remove(hold)
            self._safe -= amount - hold.exposure
            self._reserved -= amount
            self._spent += cost
            self.free += amount - cost
            if self.scarce and self.wake:
                self.wake()

    def expose(self, hold: "Hold", more: int) -> None:
        """Take in that so much more of what is held may be used, should the process die."""
        if hold in self._holds:
            self._safe -= more

    def _ask(self, want: int, slack: int) -> Ask:
        self._number += 1
        self._needed = want - slack
        asked = (self.budget.tenant, self.key, self.period, self.id, self._number)
        return Ask(*asked, want, slack, self._safe)


class Hold:
    """What is reserved for one attempt.

    Attributes:
        amount: Nano-dollars.
        so_far: Tells what the attempt has cost by now and will by the next look, at most; where
            nobody can tell, all of it.
        exposure: What it takes, should the process die now, as was last estimated.
        bound: What others were told that it takes, or may have been.
        bookings: Where its cost is to be booked: period and lease of each budget.
    """

    __slots__ = ("_leases", "_settled", "amount", "bookings", "bound", "exposure", "so_far")

    def __init__(self, leases: Sequence[Lease], amount: int) -> None:
        self.amount = self.exposure = self.bound = amount
        self.so_far: Callable[[], int] | None = None
        self.bookings: tuple[tuple[int, str], ...] = ()
        self._leases = leases
        self._settled = False
        for lease in leases:
            lease.reserve(self)
            self.bookings += lease.bookings

    def look(self) -> None:
        """Estimate anew what it takes, should the process die now."""
        if self.so_far is None:
            return
        exposure = min(self.so_far(), self.amount)
        for lease in self._leases:
            lease.expose(self, exposure - self.exposure)
        self.exposure = exposure
        # Others may hear of it, though no answer says that they have.
        self.bound = min(self.bound, exposure)

    def alive(self, now: float) -> bool:
        """Tell whether all of it is surely still reserved."""
        return all(lease.alive(now) for lease in self._leases)

    def settle(self, cost: int) -> None:
        """Say what the attempt cost. What is said first counts."""
        if not self._settled:
            self._settled, self.so_far = True, None
            for lease in self._leases:
                lease.settle(self, cost)
