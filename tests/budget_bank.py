"""The arithmetic of `lease_budget` again, in memory, and processes that share a budget."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.govern.budgets_lease import TTL_S, Ask, Budget, Grant


@dataclass
class Row:
    """A lease."""

    granted: int = 0
    booked: int = 0
    safe: int = 0
    asked: int = 0
    expires_at: float = 0.0

    @property
    def held(self) -> int:
        return max(self.granted - self.booked, 0)


@dataclass
class Part:
    """A period."""

    number: int
    spent: int = 0
    leases: dict[str, Row] = field(default_factory=dict)


class MemoryBank:
    """Holds every period open; time is what `now` says.

    `away` makes it unreachable; `silent`: it does what it is asked, and nobody hears its answer.
    """

    def __init__(self, *budgets: Budget) -> None:
        self.budgets = {budget.id: budget for budget in budgets}
        self.parts: list[Part] = []
        self._current: dict[tuple[str, str, str], Part] = {}
        self.now = 0.0
        self.ends_in_s = 10_000.0
        self.away = self.silent = False
        self.asked = 0

    async def list_budgets(self) -> list[Budget]:
        self._reach()
        return list(self.budgets.values())

    async def lease(self, asks: Sequence[Ask]) -> list[Grant | None]:
        self._reach()
        self.asked += 1
        grants = [self._lease(ask) for ask in asks]
        if self.silent:
            raise TimeoutError
        return grants

    async def expire(self, seconds: float) -> None:
        self.now += seconds

    async def book(self, period: int, lease: str, cost: int) -> None:
        part = self.parts[period]
        part.spent += cost
        part.leases[lease].booked += cost

    def new_period(self) -> None:
        """The day is over."""
        self._current.clear()

    def _reach(self) -> None:
        if self.away:
            raise TimeoutError

    def _lease(self, ask: Ask) -> Grant | None:
        budget = self.budgets.get(ask.key.budget)
        if budget is None:
            return None
        part = self._part(ask)
        for row in part.leases.values():
            if row.safe and row.expires_at <= self.now:
                row.granted, row.safe = row.granted - row.safe, 0
        mine = part.leases.setdefault(ask.lease, Row())
        taken = sum(row.held for row in part.leases.values())
        if mine.asked < ask.number:
            mine.granted = self._grant(ask, mine, budget.amount - part.spent - taken)
            mine.safe = max(ask.safe - max(ask.want - mine.granted, 0), 0)
            mine.asked = ask.number
            mine.expires_at = self.now + TTL_S
        return Grant(part.number, self.ends_in_s, mine.granted, budget.amount - part.spent)

    def _part(self, ask: Ask) -> Part:
        if ask.period is not None:
            return self.parts[ask.period]
        if ask.key not in self._current:
            self._current[ask.key] = Part(len(self.parts))
            self.parts.append(self._current[ask.key])
        return self._current[ask.key]

    def _grant(self, ask: Ask, mine: Row, left: int) -> int:
        if ask.want <= mine.granted:
            return max(ask.want, min(mine.granted, mine.booked))
        given = min(max(ask.want - mine.granted - ask.slack, 0), max(left, 0))
        more = min(ask.slack, ask.want - mine.granted, max(left - given, 0) // 32)
        return mine.granted + given + more
