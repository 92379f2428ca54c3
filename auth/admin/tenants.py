"""Tenants. They belong to the platform: operators alone see and change them."""

import datetime as dt
from dataclasses import dataclass

import asyncpg

from auth import registration
from auth.admin.clients import keep_an_operator
from auth.admin.desk import Desk, view
from auth.admin.permissions import check_role
from auth.clients import ID
from auth.errors import TenantExists, UnknownTenant
from auth.profile import check_name
from auth.revocations import record_clients
from config.postgres import Connection, load_queries
from config.scope import TenantScope

_SQL = load_queries("auth.admin", "tenants.sql")


@dataclass(frozen=True, slots=True)
class Tenant:
    """Who owns clients, agents and knowledge.

    Attributes:
        disabled_at: Since when its clients authenticate nowhere, or None.
    """

    id: str
    name: str
    created_at: dt.datetime
    disabled_at: dt.datetime | None


async def create_tenant(desk: Desk, caller: TenantScope, tenant_id: str, name: str) -> Tenant:
    """Make a tenant.

    Raises:
        RegistrationError: The caller may not, the id or the name can't be, or the id is taken.
    """
    check_role(caller, "operator")
    async with desk.reading(caller) as con:
        if not await registration.create_tenant(con, tenant_id, name):
            raise TenantExists(tenant_id)
        return await _find(con, tenant_id)


async def get_tenant(desk: Desk, caller: TenantScope, tenant_id: str) -> Tenant:
    """Return a tenant.

    Raises:
        RegistrationError: The caller may not, or there is none.
    """
    check_role(caller, "operator")
    async with desk.reading(caller) as con:
        return await _find(con, tenant_id)


async def seen_tenant(desk: Desk, caller: TenantScope, tenant_id: str | None) -> str:
    """Return the id of the tenant that is asked about: the caller's own where none is named.

    Raises:
        UnknownTenant: There is none that the caller sees.
    """
    if tenant_id is None or tenant_id == caller.tenant:
        return caller.tenant
    if view(caller):
        raise UnknownTenant(tenant_id)
    return (await get_tenant(desk, caller, tenant_id)).id


async def list_tenants(
    desk: Desk, caller: TenantScope, *, limit: int | None = None, after: str | None = None
) -> list[Tenant]:
    """Return tenants, `limit` at most, the oldest first, from behind the tenant `after`.

    Raises:
        RegistrationError: The caller may not, or there is no tenant `after`.
    """
    check_role(caller, "operator")
    async with desk.reading(caller) as con:
        last = await _find(con, after) if after else None
        made = last.created_at if last else None
        rows = await con.fetch(_SQL["list_tenants"], made, after, limit)
    return [Tenant(**row) for row in rows]


async def update_tenant(
    desk: Desk,
    caller: TenantScope,
    tenant_id: str,
    *,
    name: str | None = None,
    disabled: bool | None = None,
) -> Tenant:
    """Change a tenant. Disabling it stops all its clients and their keys, and ends their tokens.

    Raises:
        RegistrationError: The caller may not, there is no such tenant, the name can't be, or the
            last operator is a client of the tenant.
    """
    check_role(caller, "operator")
    if name is not None:
        check_name(name)
    async with desk.changing(caller) as con:
        before = await _find(con, tenant_id)
        row = await con.fetchrow(_SQL["update_tenant"], tenant_id, name, disabled)
        if disabled and before.disabled_at is None:
            await _stop_clients(con, tenant_id)
    return _read(row, tenant_id)


async def _stop_clients(con: Connection, tenant_id: str) -> None:
    rows = await con.fetch(_SQL["raise_generations"], tenant_id)
    await record_clients(con, {row["id"]: row["generation"] for row in rows})
    if any(row["operated"] for row in rows):
        await keep_an_operator(con)


async def _find(con: Connection, tenant_id: str) -> Tenant:
    row = await con.fetchrow(_SQL["find_tenant"], tenant_id) if ID.fullmatch(tenant_id) else None
    return _read(row, tenant_id)


def _read(row: asyncpg.Record | None, tenant_id: str) -> Tenant:
    if row is None:
        raise UnknownTenant(tenant_id)
    return Tenant(**row)
