"""Clients: who sees, makes and changes them."""

from dataclasses import dataclass, field
from typing import Unpack

from auth import registration
from auth.admin.desk import Desk, view
from auth.admin.permissions import check_may_change, check_may_give, check_role
from auth.clients import ID, Client, read_client
from auth.errors import LastOperator, UnknownClient, UnknownTenant
from auth.profile import Changes, Options, changed, holds_secrets, new_client, takes_away
from auth.revocations import record_client
from config.postgres import Connection, load_queries
from config.scope import TenantScope

_OPERATORS = 0x6E617275_6F707273  # "naruoprs"
_SQL = load_queries("auth.admin", "clients.sql")


@dataclass(frozen=True, slots=True)
class MadeClient:
    """A client just made: the only time its secret can be seen.

    Attributes:
        secret: Empty where the client authenticates with its keys alone.
    """

    client: Client
    secret: str = field(repr=False)


async def create_client(
    desk: Desk,
    caller: TenantScope,
    *,
    name: str,
    tenant: str | None = None,
    client_id: str | None = None,
    **options: Unpack[Options],
) -> MadeClient:
    """Make a client, of the caller's own tenant unless another is named.

    Raises:
        RegistrationError: The caller may not, or there can't be such a client.
    """
    check_role(caller, "admin")
    tenant = caller.tenant if tenant is None else tenant
    if view(caller) not in ("", tenant):
        raise UnknownTenant(tenant)
    check_may_give(caller, new_client(client_id or "new", tenant, name, options))
    async with desk.reading(caller) as con:
        made = await registration.create_client(
            con, desk.box, tenant, name=name, client_id=client_id, **options
        )
        return MadeClient(await find_client(con, caller, made.client_id), made.client_secret)


async def get_client(desk: Desk, caller: TenantScope, client_id: str) -> Client:
    """Return a client.

    Raises:
        UnknownClient: There is none that the caller sees.
    """
    async with desk.reading(caller) as con:
        return await find_client(con, caller, client_id)


async def list_clients(
    desk: Desk,
    caller: TenantScope,
    *,
    limit: int | None = None,
    after: str | None = None,
    tenant: str | None = None,
) -> list[Client]:
    """Return clients, `limit` at most, the oldest first, from behind the client `after`.

    Without `tenant` they are those of every tenant that the caller sees.

    Raises:
        UnknownTenant: The caller does not see it, or it can't be one.
        UnknownClient: There is no client `after`.
    """
    if tenant is not None and not (view(caller) in ("", tenant) and ID.fullmatch(tenant)):
        raise UnknownTenant(tenant)
    async with desk.reading(caller) as con:
        last = await find_client(con, caller, after) if after else None
        made = last.created_at if last else None
        seen = tenant if tenant is not None else view(caller)
        rows = await con.fetch(_SQL["list_clients"], seen, made, after, limit)
    return [read_client(row) for row in rows]


async def update_client(
    desk: Desk, caller: TenantScope, client_id: str, **changes: Unpack[Changes]
) -> Client:
    """Change a client. Whatever takes a right away ends its tokens.

    Raises:
        RegistrationError: The caller may not, there is no such client, it can't be like that, or it
            is the last operator.
    """
    async with desk.changing(caller) as con:
        before = await lock_client(con, caller, client_id)
        check_may_change(caller, before)
        after = changed(before, changes)
        entrusted = (after.jwks, after.auth_methods) != (before.jwks, before.auth_methods)
        check_may_give(caller, after, None if entrusted else before)
        await _save(con, before, after)
        return await find_client(con, caller, client_id)


async def find_client(con: Connection, caller: TenantScope, client_id: str) -> Client:
    """Return a client, inside a transaction.

    Raises:
        UnknownClient: There is none that the caller sees.
    """
    return await _find(con, "find_client", caller, client_id)


async def lock_client(con: Connection, caller: TenantScope, client_id: str) -> Client:
    """Return a client that nobody else changes until the transaction ends.

    Its `disabled_at` is its own, whatever became of its tenant.

    Raises:
        UnknownClient: There is none that the caller sees.
    """
    return await _find(con, "lock_client", caller, client_id)


async def end_tokens(con: Connection, client_id: str) -> None:
    """End every token that a client has, inside a transaction."""
    generation = await con.fetchval(_SQL["raise_generation"], client_id)
    await record_client(con, client_id, generation)


async def keep_an_operator(con: Connection) -> None:
    """Refuse a change, already made in this transaction, that left no operator.

    Raises:
        LastOperator: It did.
    """
    # One after another: two operators must not remove each other at once.
    await con.execute(_SQL["lock_operators"], _OPERATORS)
    if not await con.fetchval(_SQL["an_operator_is_left"]):
        raise LastOperator


async def _save(con: Connection, before: Client, after: Client) -> None:
    chosen = registration.columns(after)
    await con.execute(_SQL["update_client"], after.id, *chosen, after.disabled_at)
    if not holds_secrets(after):
        await con.execute(_SQL["delete_secrets"], after.id)
    if takes_away(before, after):
        await end_tokens(con, after.id)
    if _operates(before) and not _operates(after):
        await keep_an_operator(con)


def _operates(client: Client) -> bool:
    return client.role == "operator" and "admin" in client.scopes and client.disabled_at is None


async def _find(con: Connection, query: str, caller: TenantScope, client_id: str) -> Client:
    # An id that can't be one is asked for as well, by the same statement.
    asked = client_id if ID.fullmatch(client_id) else ""
    row = await con.fetchrow(_SQL[query], view(caller), asked)
    if row is None:
        raise UnknownClient(client_id)
    return read_client(row)
