"""Several processes, one budget: never exceeded, settled once, nothing left over."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import asyncpg
import pytest
from budget_bank import MemoryBank
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import scope_of

from config.postgres import open_pool, tenant_transaction
from config.scope import TenantScope
from gateway.errors import BudgetExhausted, Unavailable
from gateway.govern.budgets import Budgets
from gateway.govern.budgets_lease import TTL_S, Ask, Budget, Grant, Hold
from gateway.govern.budgets_store import Booking, PostgresBank, book
from gateway.observe import metrics

AMOUNT = 1_000
BUDGET = Budget("b", "acme", "", "", "day", AMOUNT)
SCOPE = scope_of("acme", "app")
_MARGIN = 5


@pytest.fixture(autouse=True, scope="module")
def _nothing_comes_back() -> Iterator[None]:
    """Refuse at once: what others hold comes back where a test says so."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gateway.govern.budgets._TRIES", 1)
        yield


# What happens, to which process, and how much: the meaning of the number is the event's.
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(
            ("reserve", "reserve", "settle", "settle", "say", "renew", "book", "kill", "pass")
        ),
        st.integers(0, 2),
        st.integers(0, 400),
    ),
    min_size=10,
    max_size=80,
)


class Bank(Protocol):
    away: bool

    async def list_budgets(self) -> list[Budget]: ...

    async def lease(self, asks: Sequence[Ask]) -> list[Grant | None]: ...

    async def expire(self, seconds: float) -> None: ...

    async def book(self, period: int, lease: str, cost: int) -> None: ...


@dataclass(eq=False)
class Open:
    """An attempt; a stream's cost grows, another's is known at its end alone."""

    hold: Hold
    stream: bool
    so_far: int = 0

    @property
    def at_most(self) -> int:
        return self.so_far if self.stream else self.hold.amount


class World:
    """Three processes; each one's clock is the world's."""

    def __init__(self, bank: Bank) -> None:
        self.bank = bank
        self.now = 0.0
        self.processes = [self.process() for _ in range(3)]
        self.open: list[list[Open]] = [[], [], []]
        self.unbooked: list[tuple[int, str, int]] = []
        self.cost = 0

    def process(self) -> Budgets:
        return Budgets(self.bank, lambda: self.now)

    async def start(self) -> None:
        for process in self.processes:
            await process.refresh()

    async def play(self, event: str, place: int, number: int) -> None:
        await getattr(self, event)(place, number)
        at_risk = sum(
            each.hold.amount if process.alive(each.hold) or not each.stream else each.hold.bound
            for process, opened in zip(self.processes, self.open, strict=True)
            for each in opened
        )
        assert self.cost + at_risk <= AMOUNT

    async def reserve(self, place: int, number: int) -> None:
        try:
            hold = await self.processes[place].hold(SCOPE, number // 10 + 1, number + 1)
        except (BudgetExhausted, Unavailable):
            return
        opened = Open(hold, stream=bool(number % 2))
        if opened.stream:
            hold.so_far = lambda: opened.so_far + _MARGIN
        self.open[place].append(opened)

    async def say(self, place: int, number: int) -> None:
        """Every stream goes on, by less than it may between two looks."""
        for each in self.open[place]:
            if each.stream:
                alive = self.processes[place].alive(each.hold)
                limit = each.hold.amount if alive else each.hold.bound
                each.so_far = max(each.so_far, min(each.so_far + number % _MARGIN, limit))

    async def settle(self, place: int, number: int) -> None:
        if not self.open[place]:
            return
        each = self.open[place].pop(number % len(self.open[place]))
        cost = each.so_far if each.stream else min(number, each.hold.amount)
        each.hold.settle(cost)
        each.hold.settle(cost + 1)
        self.spend(each.hold, cost)

    def spend(self, hold: Hold, cost: int) -> None:
        self.cost += cost
        self.unbooked += [(period, lease, cost) for period, lease in hold.bookings]

    async def renew(self, place: int, number: int) -> None:
        await self.processes[place].renew()

    async def book(self, place: int, number: int) -> None:
        booked, self.unbooked = self.unbooked[:number], self.unbooked[number:]
        for each in booked:
            await self.bank.book(*each)

    async def kill(self, place: int, number: int) -> None:
        """What was under way may have cost all it could; a journal tells of it, later."""
        for each in self.open[place]:
            self.spend(each.hold, each.at_most)
        self.open[place] = []
        self.processes[place] = self.process()
        await self.processes[place].refresh()

    async def pass_(self, place: int, number: int) -> None:
        self.now += TTL_S + 1
        await self.bank.expire(TTL_S + 1)

    async def end(self) -> None:
        for place, opened in enumerate(self.open):
            while opened:
                await self.settle(place, 7)
            await self.processes[place].give_back()
        await self.book(0, len(self.unbooked))


setattr(World, "pass", World.pass_)


async def run(bank: Bank, events: list[tuple[str, int, int]]) -> World:
    world = World(bank)
    await world.start()
    for event in events:
        await world.play(*event)
    await world.end()
    return world


@given(EVENTS)
@settings(max_examples=300, deadline=None)
async def test_a_budget_is_never_exceeded_and_nothing_stays_reserved(
    events: list[tuple[str, int, int]],
) -> None:
    bank = MemoryBank(BUDGET)
    world = await run(bank, events)
    assert sum(part.spent for part in bank.parts) == world.cost <= AMOUNT
    killed = any(event == "kill" for event, _, _ in events)
    for part in bank.parts:
        assert killed or not any(row.held for row in part.leases.values())


class PostgresWorld(PostgresBank):
    """The real one; time passes by moving what expires."""

    away = False

    def __init__(self, pool: asyncpg.Pool, owner: asyncpg.Connection) -> None:
        super().__init__(pool)
        self._owner = owner

    async def expire(self, seconds: float) -> None:
        await self._owner.execute(
            "UPDATE budget_leases SET expires_at = expires_at - $1::interval",
            timedelta(seconds=seconds),
        )

    async def book(self, period: int, lease: str, cost: int) -> None:
        async with tenant_transaction(self._pool, "acme") as con:
            await book(con, [Booking(period, lease, cost)])


@pytest.fixture
async def bank(owner: asyncpg.Connection, empty_database: str) -> Any:
    async with await open_pool(empty_database, size=3, role="naru_jobs") as pool:
        yield PostgresWorld(pool, owner)


async def add_budget(owner: asyncpg.Connection, budget: Budget) -> None:
    await owner.execute(
        "INSERT INTO budgets (id, tenant, client, end_user, period, amount)"
        " VALUES ($1, $2, $3, $4, $5, $6)",
        *(budget.id, budget.tenant, budget.client, budget.end_user, budget.period, budget.amount),
    )


@given(EVENTS)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_the_same_in_postgresql(
    bank: PostgresWorld, owner: asyncpg.Connection, events: list[tuple[str, int, int]]
) -> None:
    await owner.execute("DELETE FROM budgets")
    await add_budget(owner, BUDGET)
    world = await run(bank, events)
    spent = await owner.fetchval("SELECT coalesce(sum(spent), 0)::bigint FROM budget_periods")
    assert spent == world.cost <= AMOUNT
    held = await owner.fetchval(
        "SELECT coalesce(sum(greatest(granted - booked, 0)), 0)::bigint FROM budget_leases"
    )
    assert held == 0 or any(event == "kill" for event, _, _ in events)


async def known(*budgets: Budget) -> tuple[Budgets, MemoryBank]:
    bank = MemoryBank(*budgets)
    process = Budgets(bank, lambda: bank.now)
    await process.refresh()
    return process, bank


@pytest.mark.parametrize(
    ("client", "end_user", "caller", "counts"),
    [
        ("", "", SCOPE, True),
        ("", "", scope_of("rival", "app"), False),
        ("app", "", SCOPE, True),
        ("other", "", SCOPE, False),
        ("*", "", SCOPE, True),
        ("app", "ann", SCOPE, False),
        ("app", "ann", replace(SCOPE, end_user="ann"), True),
        ("app", "ann", replace(SCOPE, end_user="bob"), False),
        ("app", "*", replace(SCOPE, end_user="bob"), True),
        ("*", "*", replace(SCOPE, end_user="bob"), True),
        ("app", "*", SCOPE, False),
    ],
)
async def test_whose_spending_counts(
    client: str, end_user: str, caller: TenantScope, counts: bool
) -> None:
    process, _ = await known(replace(BUDGET, client=client, end_user=end_user))
    assert bool(process.bound(caller)) is counts


async def test_everybody_s_own_is_apart() -> None:
    process, _ = await known(replace(BUDGET, client="app", end_user="*"))
    ann, bob = (replace(SCOPE, end_user=name) for name in ("ann", "bob"))
    assert (await process.hold(ann, AMOUNT, AMOUNT)).amount == AMOUNT
    assert (await process.hold(bob, AMOUNT, AMOUNT)).amount == AMOUNT
    with pytest.raises(BudgetExhausted):
        await process.hold(ann, 1, 1)


async def test_the_smallest_of_several_budgets_decides() -> None:
    process, _ = await known(BUDGET, replace(BUDGET, id="c", client="app", amount=10))
    hold = await process.hold(SCOPE, 1, 100)
    assert hold.amount == 10
    assert len(hold.bookings) == 2


async def test_who_finds_nothing_left_is_told_when_it_begins_anew() -> None:
    process, bank = await known(BUDGET)
    hold = await process.hold(SCOPE, 1, AMOUNT)
    with pytest.raises(BudgetExhausted, match="under way") as busy:
        await process.hold(SCOPE, 1, 10)
    assert busy.value.headers == {"retry-after": "1"}
    hold.settle(AMOUNT)
    for period, lease in hold.bookings:
        await bank.book(period, lease, AMOUNT)
    bank.now += 1
    with pytest.raises(BudgetExhausted, match=r"begins anew at \d{4}-") as spent:
        await process.hold(SCOPE, 1, 10)
    assert spent.value.headers["x-should-retry"] == "false"
    assert 9_000 < int(spent.value.headers["retry-after"]) <= 10_001
    assert (spent.value.status, spent.value.type) == (429, "insufficient_quota")


async def test_without_the_database_a_lease_at_hand_goes_on_until_it_may_have_expired() -> None:
    process, bank = await known(replace(BUDGET, amount=10**9))
    (await process.hold(SCOPE, 1, 100)).settle(100)
    bank.away = True
    (await process.hold(SCOPE, 1, 100)).settle(100)
    with pytest.raises(Unavailable, match="can't be looked up") as refused:
        await process.hold(SCOPE, 1, 10**6)
    assert (refused.value.code, refused.value.headers) == (
        "budget_unavailable",
        {"retry-after": "2"},
    )
    bank.now += TTL_S - 1
    with pytest.raises(Unavailable):
        await process.hold(SCOPE, 1, 100)
    bank.away = False
    bank.now += 2
    assert (await process.hold(SCOPE, 1, 100)).amount == 100


async def test_many_requests_ask_the_database_few_times() -> None:
    process, bank = await known(replace(BUDGET, amount=10**9))
    for _ in range(100):
        (await process.hold(SCOPE, 1, 100)).settle(3)
    assert bank.asked == 1


@pytest.mark.parametrize(("at_once", "cost"), [(30, 0), (1, 100)])
async def test_what_was_needed_between_two_renewals_is_at_hand_after_the_second(
    at_once: int, cost: int
) -> None:
    process, bank = await known(replace(BUDGET, amount=10**9))

    async def ask_many() -> None:
        for _ in range(30 // at_once):
            for hold in [await process.hold(SCOPE, 1, 100) for _ in range(at_once)]:
                hold.settle(cost)

    await ask_many()
    await process.renew()
    asked = bank.asked
    await ask_many()
    assert bank.asked == asked


async def test_what_others_may_have_been_told_bounds_a_stream() -> None:
    process, bank = await known(BUDGET)
    hold = await process.hold(SCOPE, 1, 400)
    hold.so_far = lambda: 7
    bank.silent = True
    with pytest.raises(TimeoutError):
        await process.renew()
    bank.silent = False
    await bank.expire(TTL_S)
    other = Budgets(bank, lambda: bank.now)
    await other.refresh()
    assert (await other.hold(SCOPE, 1, AMOUNT)).amount > AMOUNT - 100
    assert not process.alive(hold)
    assert hold.bound == 7


async def test_a_dry_budget_is_not_asked_for_by_every_request() -> None:
    process, bank = await known(BUDGET)
    await process.hold(SCOPE, AMOUNT, AMOUNT)
    for _ in range(100):
        with pytest.raises(BudgetExhausted):
            await process.hold(SCOPE, 1, 1)
    assert bank.asked <= 2


async def test_an_answer_is_settled_in_the_period_it_was_reserved_in() -> None:
    process, bank = await known(BUDGET)
    first = await process.hold(SCOPE, 1, AMOUNT)
    bank.ends_in_s, before = 0.0, bank.ends_in_s
    await process.renew()
    bank.ends_in_s = before
    bank.new_period()
    second = await process.hold(SCOPE, 1, AMOUNT)
    assert first.amount == second.amount == AMOUNT
    assert first.bookings[0][0] != second.bookings[0][0]
    first.settle(10)
    await process.renew()
    assert sum(row.held for row in bank.parts[0].leases.values()) == 10


async def test_an_answer_that_took_more_than_was_reserved_is_counted_whole() -> None:
    process, bank = await known(BUDGET)
    hold = await process.hold(SCOPE, 1, 100)
    hold.settle(400)
    await process.renew()
    (part,) = bank.parts
    assert sum(row.held for row in part.leases.values()) == 400


async def test_the_fullest_budget_is_told_and_not_whose_it_is() -> None:
    half, other = (
        replace(BUDGET, amount=1000),
        replace(BUDGET, id="o", period="month", amount=10**6),
    )
    process, bank = await known(half, other)
    hold = await process.hold(SCOPE, 1, 500)
    hold.settle(500)
    for period, lease in hold.bookings:
        await bank.book(period, lease, 500)
    (await process.hold(SCOPE, 1, 100)).settle(0)
    await process.renew()
    told = {period: metrics.BUDGET_USED.values[(period,)] for period in ("day", "month")}
    assert told == pytest.approx({"day": 0.5, "month": 0.0005})


async def test_a_deleted_budget_bounds_nobody() -> None:
    process, bank = await known(BUDGET)
    hold = await process.hold(SCOPE, 1, AMOUNT)
    bank.budgets.clear()
    await process.refresh()
    await process.renew()
    hold.settle(1)
    assert not process.bound(SCOPE)


async def test_a_question_that_was_overtaken_changes_nothing(
    bank: PostgresWorld, owner: asyncpg.Connection
) -> None:
    await add_budget(owner, BUDGET)
    process = Budgets(bank)
    await process.refresh()
    hold = await process.hold(SCOPE, 1, 100)
    (lease,) = process._current.values()
    late = lease._ask(0, 0)
    hold.settle(0)
    await process.hold(SCOPE, AMOUNT, AMOUNT)
    (grant,) = await bank.lease([late])
    assert grant
    assert grant.granted == AMOUNT


async def test_a_day_and_a_month_end_where_the_calendar_says(
    bank: PostgresWorld, owner: asyncpg.Connection
) -> None:
    await add_budget(owner, BUDGET)
    await add_budget(owner, replace(BUDGET, id="m", period="month"))
    process = Budgets(bank)
    await process.refresh()
    await process.hold(SCOPE, 1, 1)
    rows = await owner.fetch(
        "SELECT budget, starts <= now() AND now() < ends AS now,"
        " starts = date_trunc(CASE budget WHEN 'm' THEN 'month' ELSE 'day' END, starts, 'UTC')"
        " AND ends = date_trunc(CASE budget WHEN 'm' THEN 'month' ELSE 'day' END, ends, 'UTC')"
        " AS whole FROM budget_periods ORDER BY budget"
    )
    assert [tuple(row) for row in rows] == [("b", True, True), ("m", True, True)]


async def test_who_asks_in_turn_of_two_processes_waits_for_neither_s_idle_lease(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.govern.budgets._TRIES", 50)
    bank = MemoryBank(BUDGET)
    one, other = Budgets(bank), Budgets(bank)
    async with one.keeping(), other.keeping():
        for process in (one, other) * 5:
            hold = await process.hold(SCOPE, 1, 2 * AMOUNT)  # the worst case is all there is
            assert hold.amount > AMOUNT * 0.9
            hold.settle(1)


async def test_plenty_is_not_given_back_before_its_time() -> None:
    bank = MemoryBank(BUDGET)
    process = Budgets(bank)
    async with process.keeping():
        (await process.hold(SCOPE, 1, 10)).settle(1)
        assert not process._wanted_back.is_set()
        (await process.hold(SCOPE, 1, AMOUNT)).settle(1)
        assert process._wanted_back.is_set()


async def test_a_refusal_tells_the_minute_in_which_the_budget_begins_anew() -> None:
    bank = MemoryBank(BUDGET)
    now = datetime.now(UTC)
    midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    bank.ends_in_s = (midnight - now).total_seconds()
    process = Budgets(bank)
    await process.refresh()
    hold = await process.hold(SCOPE, 1, AMOUNT)
    hold.settle(AMOUNT)
    ((period, lease),) = hold.bookings
    await bank.book(period, lease, AMOUNT)
    with pytest.raises(BudgetExhausted, match=f"{midnight:%Y-%m-%dT00:00Z}"):
        await process.hold(SCOPE, 1, 1)
