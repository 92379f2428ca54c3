"""Rules of limits in PostgreSQL: administered within a tenant, read by every process."""

import asyncio
import re
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from auth.admin.permissions import check_role
from config.announcements import Announcer
from config.postgres import Connection, load_queries, tenant_transaction
from config.scope import TenantScope
from gateway.errors import InvalidRequest, NotFound
from gateway.govern.limits_rules import COUNTING, Measure, Per, TenantRules, amounts_of

CHANNEL = "naru:limits:changed"
"""Redis channel on which every process hears that a rule has changed."""

MOST = 1_000_000_000_000
"""No limit may be higher."""

_SQL = load_queries("gateway.govern", "limits.sql")
_SUBJECT = re.compile(r"[!-~]{0,256}", re.ASCII)
_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Rule:
    """What a subject of a tenant may take; `subject` '' is everyone of the kind without a rule."""

    id: str
    tenant: str
    per: Per
    subject: str
    amounts: Mapping[Measure, int]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class LimitRules:
    """The rules as administrators see them: their tenant's, or every tenant's for operators.

    Every method takes the caller, who needs the scope `admin`. What is changed is announced after
    the commit.

    Attributes:
        pool: Works as `naru_app`: one tenant's rows at a time.
        everyone: Works as `naru_jobs`, which sees the rules of all.
    """

    pool: asyncpg.Pool
    everyone: asyncpg.Pool
    announcer: Announcer

    async def create(
        self,
        caller: TenantScope,
        per: Per,
        subject: str,
        values: Mapping[Measure, int | None],
        *,
        tenant: str | None = None,
    ) -> Rule:
        """Make a rule, of the caller's own tenant unless another is named.

        Raises:
            NotPermitted: The caller may not.
            InvalidRequest: There is one already, or it can't be.
            NotFound: There is no such tenant for the caller.
        """
        _check_may_change(caller, per)
        tenant = _seen(caller, tenant) or caller.tenant
        _check_subject(tenant, per, subject)
        _check_values(values)
        named = "" if per == "tenant" else subject
        given = (values.get(measure) for measure in COUNTING)
        try:
            async with tenant_transaction(self.pool, tenant) as con:
                row = await con.fetchrow(
                    _SQL["insert"], f"limit_{uuid.uuid4().hex}", tenant, per, named, *given
                )
        except asyncpg.UniqueViolationError:
            message = "there is a rule for it already: change that"
            raise InvalidRequest(message, param="subject", code="limit_exists") from None
        except asyncpg.ForeignKeyViolationError:
            raise _no_tenant(tenant) from None
        await self.announcer.announce()
        return _rule(row)

    async def find(self, caller: TenantScope, rule_id: str) -> Rule:
        """Return a rule.

        Raises:
            NotFound: Unknown, or another's.
        """
        async with self._looking(caller) as con:
            return await _find(con, rule_id)

    async def page(
        self, caller: TenantScope, *, tenant: str | None, limit: int | None, after: str | None
    ) -> list[Rule]:
        """Return rules, `limit` at most, the oldest first, from behind `after`.

        Raises:
            NotFound: There is no rule `after`, or no such tenant for the caller.
        """
        tenant = _seen(caller, tenant)
        async with self._looking(caller) as con:
            last = await _find(con, after) if after else None
            made = last.created_at if last else None
            rows = await con.fetch(_SQL["list"], tenant, made, after, limit)
        return [_rule(row) for row in rows]

    async def update(
        self, caller: TenantScope, rule_id: str, values: Mapping[Measure, int | None]
    ) -> Rule:
        """Change what a rule allows; what is left out stays, null is not limited.

        Raises:
            NotPermitted: The caller may not.
            NotFound: Unknown, or another's.
            InvalidRequest: It can't be.
        """
        _check_values(values)
        async with self._changing(caller, rule_id) as (con, before):
            after = {measure: before.amounts.get(measure) for measure in COUNTING} | dict(values)
            row = await con.fetchrow(_SQL["update"], before.tenant, rule_id, *after.values())
        await self.announcer.announce()
        return _rule(row)

    async def delete(self, caller: TenantScope, rule_id: str) -> None:
        """Remove a rule; what is more general applies again.

        Raises:
            NotPermitted: The caller may not.
            NotFound: Unknown, or another's.
        """
        async with self._changing(caller, rule_id) as (con, before):
            await con.execute(_SQL["delete"], before.tenant, rule_id)
        await self.announcer.announce()

    def _looking(self, caller: TenantScope) -> AbstractAsyncContextManager[Connection]:
        if caller.role == "operator":
            return tenant_transaction(self.everyone, "")
        return tenant_transaction(self.pool, caller.tenant)

    @asynccontextmanager
    async def _changing(
        self, caller: TenantScope, rule_id: str
    ) -> AsyncIterator[tuple[Connection, Rule]]:
        """Open a transaction of the rule's tenant that holds the rule as it is."""
        found = await self.find(caller, rule_id)
        _check_may_change(caller, found.per)
        async with tenant_transaction(self.pool, found.tenant) as con:
            row = await con.fetchrow(_SQL["lock"], found.tenant, rule_id)
            if row is None:
                raise _missing(rule_id)
            yield con, _rule(row)


class KnownRules:
    """Every tenant's rules, as one process knows them.

    `db` works as `naru_jobs`, which sees them all.
    """

    def __init__(self, db: asyncpg.Pool) -> None:
        self._db = db
        self._state: str | None = ""

    async def refresh(self) -> Mapping[str, TenantRules] | None:
        """Return the rules by tenant; None: they are as they were.

        Raises:
            asyncpg.PostgresError, asyncpg.InterfaceError, OSError: The store failed.
        """
        async with asyncio.timeout(_TIMEOUT_S):
            state = await self._db.fetchval(_SQL["state"])
            if state == self._state:
                return None
            rows = await self._db.fetch(_SQL["all"])
        self._state = state
        rules: dict[str, dict[tuple[Per, str], Mapping[Measure, int]]] = defaultdict(dict)
        for row in rows:
            rules[row["tenant"]][row["per"], row["subject"]] = amounts_of(dict(row))
        return rules


async def _find(con: Connection, rule_id: str) -> Rule:
    row = await con.fetchrow(_SQL["find"], rule_id) if "\0" not in rule_id else None
    if row is None:
        raise _missing(rule_id)
    return _rule(row)


def _missing(rule_id: str) -> NotFound:
    message = f"there is no limit `{rule_id[:128]}`"
    return NotFound(message, param="limit_id", code="limit_not_found")


def _seen(caller: TenantScope, tenant: str | None) -> str | None:
    """Return the tenant that is meant; None stands for all."""
    if caller.role == "operator":
        return tenant
    if tenant not in (None, caller.tenant):
        raise _no_tenant(str(tenant))
    return caller.tenant


def _rule(row: asyncpg.Record | None) -> Rule:
    if row is None:
        raise RuntimeError("a statement that returns its row returned none")
    return Rule(
        id=row["id"],
        tenant=row["tenant"],
        per=row["per"],
        subject=row["subject"],
        amounts=amounts_of(dict(row)),
        created_at=row["created_at"],
    )


def _check_may_change(caller: TenantScope, per: Per) -> None:
    """What a tenant may take as a whole is not its own to say."""
    check_role(caller, "operator" if per == "tenant" else "admin")


def _check_subject(tenant: str, per: Per, subject: str) -> None:
    if per == "tenant" and subject not in ("", tenant):
        message = "subject: leave it out, the rule is the tenant's"
        raise InvalidRequest(message, param="subject")
    if not _SUBJECT.fullmatch(subject):
        message = "subject: up to 256 visible ASCII characters name one"
        raise InvalidRequest(message, param="subject")


def _check_values(values: Mapping[Measure, int | None]) -> None:
    for measure, most in values.items():
        if most is not None and not 0 < most <= MOST:
            message = f"{measure}: 1 to {MOST:,}, or null for no limit"
            raise InvalidRequest(message, param=measure)


def _no_tenant(tenant: str) -> NotFound:
    return NotFound(f"there is no tenant `{tenant[:128]}`", param="tenant", code="tenant_not_found")
