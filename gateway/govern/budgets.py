"""Budgets in money, as one process knows them: what it may spend, reserved before it is spent.

What is left of a budget stands in PostgreSQL. A process takes a lease of some of it, reserves the
worst case of every attempt from its leases, and settles what the attempt cost. It spends nothing
from a lease that it could not renew in time, so that what the lease holds is free again when the
process dies. The process's clock says how long, never what day it is.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol, get_args

import asyncpg

from config.postgres import UNREACHABLE
from config.scope import TenantScope
from config.tasks import end_task
from gateway.errors import BudgetExhausted, Unavailable
from gateway.govern.budgets_lease import (
    Ask,
    Budget,
    Grant,
    Hold,
    Key,
    Lease,
    Period,
    key_of,
)
from gateway.observe import metrics

_POLL_S = 2.0
_PAUSE_S = 1.0
_DRY_S = 0.1
_HURRY_S = 0.02
_TRIES = 4
_AT_ONCE = 50
_LOOKED_AT = 256
_log = logging.getLogger(__name__)


class Bank(Protocol):
    """Where what is left of every budget stands."""

    async def list_budgets(self) -> list[Budget]:
        """Return every tenant's budgets."""
        ...

    async def lease(self, asks: Sequence[Ask]) -> list[Grant | None]:
        """Take, renew or return leases; None for those whose budget is gone."""
        ...


@dataclass(frozen=True, slots=True)
class _Known:
    """The budgets there are, by tenant, client and end user as they name them.

    Attributes:
        callers: Which of them bind who has asked; forgotten with the next look at the budgets.
    """

    tenants: frozenset[str] = frozenset()
    budgets: dict[tuple[str, str, str], tuple[Budget, ...]] = field(default_factory=dict)
    callers: dict[tuple[str, str, str], list[tuple[Budget, Key]]] = field(default_factory=dict)

    @classmethod
    def of(cls, budgets: Iterable[Budget]) -> "_Known":
        by_subject: dict[tuple[str, str, str], tuple[Budget, ...]] = {}
        for budget in budgets:
            subject = (budget.tenant, budget.client, budget.end_user)
            by_subject[subject] = (*by_subject.get(subject, ()), budget)
        return cls(frozenset(tenant for tenant, _, _ in by_subject), by_subject)

    def that_bound(self, scope: TenantScope) -> Sequence[tuple[Budget, Key]]:
        """Return the budgets that count what this caller spends, and as whose spending."""
        if scope.tenant not in self.tenants:
            return []
        caller = (scope.tenant, scope.client, scope.end_user)
        found = self.callers.get(caller)
        if found is None:
            found = [(budget, key_of(budget, scope)) for budget in self._found(scope)]
            self.callers[caller] = found
        return found

    def _found(self, scope: TenantScope) -> list[Budget]:
        subjects = [("", ""), ("*", ""), (scope.client, "")]
        if scope.end_user:
            for client in ("*", scope.client):
                subjects += [(client, "*"), (client, scope.end_user)]
        return [
            budget
            for client, end_user in dict.fromkeys(subjects)
            for budget in self.budgets.get((scope.tenant, client, end_user), ())
        ]


class _NoBank:
    """Where there are no budgets."""

    async def list_budgets(self) -> list[Budget]:
        return []

    async def lease(self, asks: Sequence[Ask]) -> list[Grant | None]:
        return [None for _ in asks]


class Budgets:
    """What one process may spend; `clock` tells seconds that only grow.

    Its leases' ids begin with `owner`, so that they can be closed when it is gone.
    """

    def __init__(
        self,
        bank: Bank | None = None,
        clock: Callable[[], float] = time.monotonic,
        *,
        owner: str = "",
    ) -> None:
        self._owner = owner
        self._bank = bank or _NoBank()
        self._clock = clock
        self._known = _Known()
        self._current: dict[Key, Lease] = {}
        self._ended: set[Lease] = set()
        self._asking = asyncio.Lock()
        self._wanted_back = asyncio.Event()
        self._pause_until = float("-inf")

    def alive(self, hold: Hold) -> bool:
        """Tell whether what is held is surely still reserved."""
        return hold.alive(self._clock())

    def bound(self, scope: TenantScope) -> Sequence[tuple[Budget, Key]]:
        """Return the budgets that count what this caller spends, and as whose spending."""
        return self._known.that_bound(scope)

    def at_hand(self, bound: Iterable[tuple[Budget, Key]], most: int) -> Hold | None:
        """Reserve `most` nano-dollars where no lease has to grow for that; else None."""
        now, leases = self._clock(), []
        for _, key in bound:
            lease = self._current.get(key)
            if lease is None or now >= lease.ends_at or lease.available(now) < most:
                return None
            leases.append(lease)
        return Hold(leases, most)

    async def hold(self, scope: TenantScope, least: int, most: int) -> Hold:
        """Reserve `most` nano-dollars, or as much as is left where that is `least` at least.

        Raises:
            BudgetExhausted: Less is left.
            Unavailable: What is left can't be known now, and no lease at hand has `most`.
        """
        bound = self.bound(scope)
        if hold := self.at_hand(bound, most):
            return hold
        now = self._clock()
        leases = [self._lease_of(budget, key, now) for budget, key in bound]
        return await self._scarce(leases, least, most)

    async def _scarce(self, leases: Sequence[Lease], least: int, most: int) -> Hold:
        """Reserve from leases of which one has less than `most`; ask for more first.

        What lies idle in another process comes back within moments, and is waited for.
        """
        for left in reversed(range(_TRIES)):
            reached = True
            if any(lease.asks_for(most, self._clock()) for lease in leases):
                reached = await self._grow(leases, most)
            if not left or not self._comes_back(leases, most):
                break
            await asyncio.sleep(_DRY_S)
        return self._take(leases, least, most, reached=reached)

    def _comes_back(self, leases: Sequence[Lease], most: int) -> bool:
        """Tell whether less than `most` is at hand, and other processes have more than that."""
        now = self._clock()
        short = [lease for lease in leases if lease.available(now) < most]
        return bool(short) and all(lease.elsewhere > lease.available(now) for lease in short)

    @asynccontextmanager
    async def keeping(self) -> AsyncIterator[None]:
        """Follow the budgets and keep leases alive while the context is open; then return them.

        Raises:
            asyncpg.PostgresError, OSError: The budgets can't be read at the start.
        """
        await self.refresh()
        task = asyncio.create_task(self._keep(), name="budgets")
        try:
            yield
        finally:
            await end_task(task)
            await self.give_back()

    async def refresh(self) -> None:
        """Read which budgets there are."""
        budgets = await self._bank.list_budgets()
        self._known = _Known.of(budgets)
        ids = {budget.id for budget in budgets}
        for key, lease in list(self._current.items()):
            if lease.budget.id not in ids:
                self._retire(key)

    async def renew(self, *, scarce: bool = False) -> None:
        """Renew the leases in use, or those that are scarce, and return what is not needed."""
        now = self._clock()
        for key, lease in list(self._current.items()):
            if now >= lease.ends_at or lease.long_idle(now):
                self._retire(key)
        async with self._asking:
            asked = [
                lease
                for lease in self._all()
                if lease.needs_renewal and (lease.scarce or not scarce)
            ]
            await self._look(asked)
            for start in range(0, len(asked), _AT_ONCE):
                some = asked[start : start + _AT_ONCE]
                await self._ask(some, [lease.renewal() for lease in some])
        self._ended = {lease for lease in self._ended if lease.needs_renewal}
        self._tell()

    async def _look(self, leases: Iterable[Lease]) -> None:
        """Estimate what is under way; thousands in one go would hold the event loop up."""
        holds = list({hold for lease in leases for hold in lease.holds})
        for start in range(0, len(holds), _LOOKED_AT):
            for hold in holds[start : start + _LOOKED_AT]:
                hold.look()
            await asyncio.sleep(0)

    async def give_back(self) -> None:
        """Return all that nothing is reserved for; what can't be returned expires."""
        for key in list(self._current):
            self._retire(key)
        try:
            await self.renew()
        except (*UNREACHABLE, asyncpg.PostgresError) as error:
            _log.warning("leases of budgets expire by themselves: %s", type(error).__name__)

    def _lease_of(self, budget: Budget, key: Key, now: float) -> Lease:
        lease = self._current.get(key)
        if lease and now < lease.ends_at:
            return lease
        if lease:
            self._retire(key)
        lease = self._current[key] = Lease(budget, key, self._owner)
        lease.wake = self._wanted_back.set
        return lease

    def _retire(self, key: Key) -> None:
        lease = self._current.pop(key)
        lease.retired = True
        if lease.needs_renewal:
            self._ended.add(lease)

    def _tell(self) -> None:
        """Set the gauge of the budget that is spent the most."""
        for period in get_args(Period):
            used = [lease.used for lease in self._current.values() if lease.budget.period == period]
            metrics.BUDGET_USED.set(max(used, default=0.0), period)

    def _all(self) -> list[Lease]:
        # In one order everywhere: processes that wait for each other's rows must not do so in turn.
        return sorted((*self._current.values(), *self._ended), key=lambda lease: lease.order)

    async def _grow(self, leases: Sequence[Lease], most: int) -> bool:
        """Ask for more where less than `most` is at hand; tell whether there was an answer."""
        if self._clock() < self._pause_until:
            return False
        async with self._asking:
            now = self._clock()
            short = [lease for lease in leases if lease.asks_for(most, now)]
            if not short:
                return True
            if now < self._pause_until:
                return False
            short.sort(key=lambda lease: lease.order)
            try:
                await self._ask(short, [lease.growth(most) for lease in short])
            except (*UNREACHABLE, asyncpg.PostgresError) as error:
                _log.warning("budgets can't be reached: %s", type(error).__name__)
                return False
            for lease in short:
                if lease.available(self._clock()) < most:
                    lease.dry_until = self._clock() + _DRY_S
            return True

    async def _ask(self, leases: Sequence[Lease], asks: Sequence[Ask]) -> None:
        asked_at = self._clock()
        try:
            grants = await self._bank.lease(asks)
        except (*UNREACHABLE, asyncpg.PostgresError):
            self._pause_until = self._clock() + _PAUSE_S
            raise
        for lease, grant in zip(leases, grants, strict=True):
            if grant:
                lease.take(grant, asked_at)
            else:
                lease.budget_gone()

    def _take(self, leases: Sequence[Lease], least: int, most: int, *, reached: bool) -> Hold:
        now = self._clock()
        payable = min([most, *(lease.available(now) for lease in leases)])
        if payable < most and not reached:
            raise Unavailable(
                "what is left of a budget can't be looked up at the moment; try again",
                code="budget_unavailable",
                headers={"retry-after": "2"},
            )
        if payable < least:
            raise self._exhausted(leases, least, now)
        return Hold(leases, payable)

    def _exhausted(self, leases: Sequence[Lease], least: int, now: float) -> BudgetExhausted:
        scarce = min(leases, key=lambda lease: lease.available(now))
        if scarce.unspent >= least:
            return BudgetExhausted(
                f"what is left of {scarce.budget} is reserved for requests under way; try again",
                code="budget_exhausted",
                headers={"retry-after": "1"},
            )
        left_s = max(scarce.ends_at - now, 0.0)
        # To the nearest minute: a period ends with one.
        anew = datetime.now(UTC) + timedelta(seconds=left_s + 30)
        return BudgetExhausted(
            f"{scarce.budget} does not pay for this request any more; it begins anew at "
            f"{anew:%Y-%m-%dT%H:%MZ}",
            code="budget_exhausted",
            headers={"retry-after": str(int(left_s) + 1), "x-should-retry": "false"},
        )

    async def _until_wanted(self, next_look: float) -> bool:
        """Wait for the next look; tell whether something is wanted back before that."""
        try:
            async with asyncio.timeout_at(next_look):
                await self._wanted_back.wait()
                await asyncio.sleep(_HURRY_S)  # for what else ends by then
        except TimeoutError:
            return False
        self._wanted_back.clear()
        return True

    async def _keep(self) -> None:
        current, loop = True, asyncio.get_running_loop()
        next_look = loop.time() + _POLL_S
        while True:
            try:
                if await self._until_wanted(next_look):
                    await self.renew(scarce=True)
                    continue
                next_look = loop.time() + _POLL_S
                await self.refresh()
                await self.renew()
            except Exception as error:  # noqa: BLE001 - without this task no lease is renewed
                if current:
                    _log.warning("budgets can't be read: %s", type(error).__name__)
                current = False
            else:
                current = True
