"""Budgets as administrators see and change them, and how much of each is used."""

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from auth.admin.desk import view
from auth.admin.permissions import check_role
from auth.errors import UnknownTenant
from config.postgres import load_queries, tenant_transaction
from config.scope import TenantScope
from gateway.errors import InvalidRequest, NotFound
from gateway.govern.budgets_lease import Period

_SQL = load_queries("gateway.govern", "budgets_admin.sql")


@dataclass(frozen=True, slots=True)
class BudgetState:
    """A budget and its current period; amounts in nano-dollars.

    Attributes:
        spent: What answers took; of everybody together where the budget is everybody's apart.
        reserved: What processes hold for answers under way, and for the next ones.
        unaccounted: What processes that are gone may have spent, as long as no record says so.
        ends_at: When it begins anew.
    """

    id: str
    tenant: str
    client: str
    end_user: str
    period: Period
    amount: int
    created_at: dt.datetime
    spent: int
    reserved: int
    unaccounted: int
    ends_at: dt.datetime


class BudgetDesk:
    """Where budgets are administered. `pool` works as `naru_jobs`, which finds an id's tenant."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def create(
        self,
        caller: TenantScope,
        tenant: str,
        subject: tuple[str, str],
        period: Period,
        amount: int,
    ) -> BudgetState:
        """Make a budget; `subject` are client and end user, each empty, `*` or one's name.

        Raises:
            RegistrationError: The caller is no admin, or there is no such tenant that it sees.
            InvalidRequest: There is one already.
        """
        check_role(caller, "admin")
        _check_seen(caller, tenant)
        budget = f"budget_{uuid.uuid4().hex}"
        try:
            async with tenant_transaction(self._pool, tenant) as con:
                await con.execute(_SQL["create"], budget, tenant, *subject, period, amount)
        except asyncpg.UniqueViolationError:
            raise InvalidRequest(
                "there is a budget of this subject and period already: change its amount",
                code="budget_exists",
            ) from None
        except asyncpg.ForeignKeyViolationError:
            raise UnknownTenant(tenant) from None
        return await self._find(tenant, budget)

    async def list_all(
        self, caller: TenantScope, tenant: str, *, limit: int, after: str | None
    ) -> Sequence[BudgetState]:
        """Return a tenant's budgets, the oldest first, from behind the budget `after`.

        Raises:
            RegistrationError: There is no such tenant that the caller sees.
            NotFound: There is no budget `after`.
        """
        _check_seen(caller, tenant)
        if after:
            await self._find(tenant, after)
        async with tenant_transaction(self._pool, tenant) as con:
            rows = await con.fetch(_SQL["list"], tenant, None, after, limit)
        return [BudgetState(**row) for row in rows]

    async def get(self, caller: TenantScope, budget: str) -> BudgetState:
        """Return a budget.

        Raises:
            NotFound: There is none that the caller sees.
        """
        return await self._find(await self._tenant_of(caller, budget), budget)

    async def update(self, caller: TenantScope, budget: str, amount: int) -> BudgetState:
        """Change what may be spent; what is leased already may still be.

        Raises:
            RegistrationError: The caller is no admin.
            NotFound: There is none that the caller sees.
        """
        check_role(caller, "admin")
        tenant = await self._tenant_of(caller, budget)
        async with tenant_transaction(self._pool, tenant) as con:
            await con.fetchval(_SQL["update"], tenant, budget, amount)
        return await self._find(tenant, budget)

    async def delete(self, caller: TenantScope, budget: str) -> None:
        """Lift a budget, and forget what was spent of it.

        Raises:
            RegistrationError: The caller is no admin.
            NotFound: There is none that the caller sees.
        """
        check_role(caller, "admin")
        tenant = await self._tenant_of(caller, budget)
        async with tenant_transaction(self._pool, tenant) as con:
            if await con.fetchval(_SQL["delete"], tenant, budget) is None:
                raise _unknown(budget)

    async def _tenant_of(self, caller: TenantScope, budget: str) -> str:
        if caller.role != "operator":
            return caller.tenant
        tenant: str | None = await self._pool.fetchval(_SQL["tenant_of"], _text(budget))
        return caller.tenant if tenant is None else tenant

    async def _find(self, tenant: str, budget: str) -> BudgetState:
        async with tenant_transaction(self._pool, tenant) as con:
            row = await con.fetchrow(_SQL["list"], tenant, _text(budget), None, 1)
        if row is None:
            raise _unknown(budget)
        return BudgetState(**row)


def _check_seen(caller: TenantScope, tenant: str) -> None:
    if view(caller) not in ("", tenant) or _text(tenant) != tenant:
        raise UnknownTenant(tenant)


def _text(value: str) -> str:
    """Return what PostgreSQL takes for a text; what it doesn't is nothing's id."""
    return "" if "\0" in value or not value.isprintable() else value


def _unknown(budget: str) -> NotFound:
    return NotFound(f"there is no budget {budget[:128]!r}", code="not_found")
