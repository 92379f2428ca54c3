"""API keys: who sees, makes and disables them."""

import datetime as dt
from collections.abc import Collection
from dataclasses import dataclass, field, replace

import asyncpg

from auth import clients, registration
from auth.admin.clients import find_client, lock_client
from auth.admin.desk import Desk, view
from auth.admin.permissions import check_may_change, check_may_give
from auth.errors import UnknownObject
from config.postgres import Connection, load_queries
from config.scope import TenantScope

_SQL = load_queries("auth.admin", "api_keys.sql")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What may be told of an API key.

    Attributes:
        scopes: What it is limited to, or None for everything its client holds.
        disabled_at: Since when it is dead itself, whatever its client is; or None.
    """

    id: str
    tenant: str
    client: str
    name: str
    scopes: tuple[str, ...] | None
    created_at: dt.datetime
    disabled_at: dt.datetime | None


@dataclass(frozen=True, slots=True)
class MadeKey:
    """An API key just made: the only time it can be seen."""

    info: ApiKey
    key: str = field(repr=False)


async def create_key(
    desk: Desk,
    caller: TenantScope,
    client_id: str,
    *,
    name: str = "",
    scopes: Collection[str] | None = None,
) -> MadeKey:
    """Make an API key of a client; without `scopes` it follows whatever the client holds.

    Raises:
        RegistrationError: The caller may not, there is no such client, it is disabled, or it does
            not hold one of the scopes.
    """
    async with desk.reading(caller) as con:
        client = await lock_client(con, caller, client_id)
        check_may_change(caller, client)
        granted = client.scopes if scopes is None else client.scopes & set(scopes)
        check_may_give(caller, replace(client, scopes=granted))
        made = await registration.create_key(con, desk.box, client_id, name=name, scopes=scopes)
        return MadeKey(await _find(con, caller, made.key_id), made.key)


async def get_key(desk: Desk, caller: TenantScope, key_id: str) -> ApiKey:
    """Return an API key.

    Raises:
        UnknownObject: There is none that the caller sees.
    """
    async with desk.reading(caller) as con:
        return await _find(con, caller, key_id)


async def list_keys(
    desk: Desk,
    caller: TenantScope,
    *,
    limit: int | None = None,
    after: str | None = None,
    client_id: str | None = None,
) -> list[ApiKey]:
    """Return keys, `limit` at most, the oldest first, from behind the key `after`.

    Raises:
        UnknownObject: The caller sees no such client, or no key `after`.
    """
    async with desk.reading(caller) as con:
        if client_id is not None:
            await find_client(con, caller, client_id)
        last = await _find(con, caller, after) if after else None
        made = last.created_at if last else None
        rows = await con.fetch(_SQL["list_keys"], view(caller), client_id, made, after, limit)
    return [_read(row) for row in rows]


async def disable_key(desk: Desk, caller: TenantScope, key_id: str) -> ApiKey:
    """End an API key for good.

    Raises:
        RegistrationError: The caller may not, or there is no such key.
    """
    async with desk.changing(caller) as con:
        key = await _find(con, caller, key_id)
        check_may_change(caller, await find_client(con, caller, key.client))
        await clients.disable_key(con, key_id)
        return await _find(con, caller, key_id)


async def _find(con: Connection, caller: TenantScope, key_id: str) -> ApiKey:
    asked = key_id if clients.ID.fullmatch(key_id) else ""
    row = await con.fetchrow(_SQL["find_key"], view(caller), asked)
    if row is None:
        raise UnknownObject("API key", key_id)
    return _read(row)


def _read(row: asyncpg.Record) -> ApiKey:
    scopes = row["scopes"]
    return ApiKey(**{**row, "scopes": None if scopes is None else tuple(scopes)})
