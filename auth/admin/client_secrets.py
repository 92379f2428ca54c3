"""Secrets of clients. Two can be valid at once, so that one replaces the other without a gap."""

import datetime as dt
from dataclasses import dataclass, field

from auth import registration
from auth.admin.clients import end_tokens, find_client, lock_client
from auth.admin.desk import Desk
from auth.admin.permissions import check_may_change, check_may_give
from auth.clients import ID, Client
from auth.errors import InvalidOption, TooManySecrets, UnknownObject
from auth.profile import holds_secrets
from config.postgres import Connection, load_queries
from config.scope import TenantScope

OVERLAP_S = 86_400
"""How long the secrets before a new one stay valid when nothing else is said."""

MAX_OVERLAP_S = 30 * 86_400

_SQL = load_queries("auth.admin", "client_secrets.sql")


@dataclass(frozen=True, slots=True)
class Secret:
    """What may be told of a valid secret; `expires_at` is None for the newest."""

    id: str
    created_at: dt.datetime
    expires_at: dt.datetime | None


@dataclass(frozen=True, slots=True)
class MadeSecret:
    """A secret just made: the only time it can be seen."""

    info: Secret
    secret: str = field(repr=False)


async def rotate_secret(
    desk: Desk, caller: TenantScope, client_id: str, *, overlap_s: int = OVERLAP_S
) -> MadeSecret:
    """Make a secret; those before stay valid for `overlap_s` seconds at most.

    With 0 they are over at once, and the client's tokens with them: for a secret that leaked.

    Raises:
        RegistrationError: The caller may not, there is no such client, it has no secrets, two of
            them are valid and shall overlap with a third, or the overlap is out of bounds.
    """
    if not 0 <= overlap_s <= MAX_OVERLAP_S:
        raise InvalidOption("overlap_s", f"overlap_s must be from 0 to {MAX_OVERLAP_S} seconds")
    async with desk.changing(caller) as con:
        client = await lock_client(con, caller, client_id)
        check_may_change(caller, client)
        check_may_give(caller, client)
        await _make_room(con, client, overlap_s)
        secret = await registration.create_secret(con, desk.box, client_id)
        return MadeSecret((await _valid(con, client_id))[-1], secret)


async def list_secrets(desk: Desk, caller: TenantScope, client_id: str) -> list[Secret]:
    """Return a client's valid secrets, the oldest first, without the secrets themselves.

    Raises:
        UnknownClient: There is no client of this id that the caller sees.
    """
    async with desk.reading(caller) as con:
        await find_client(con, caller, client_id)
        return await _valid(con, client_id)


async def retire_secret(desk: Desk, caller: TenantScope, client_id: str, secret_id: str) -> None:
    """End a secret, and the client's tokens: nobody knows by which secret they were got.

    Raises:
        RegistrationError: The caller may not, or there is no such client or secret.
    """
    async with desk.changing(caller) as con:
        client = await lock_client(con, caller, client_id)
        check_may_change(caller, client)
        asked = secret_id if ID.fullmatch(secret_id) else ""
        if await con.execute(_SQL["delete_secret"], client_id, asked) == "DELETE 0":
            raise UnknownObject("secret", secret_id)
        await end_tokens(con, client_id)


async def _make_room(con: Connection, client: Client, overlap_s: int) -> None:
    if not holds_secrets(client):
        raise InvalidOption(
            "auth_methods", "the client authenticates with its keys alone: it has no secrets"
        )
    await con.execute(_SQL["delete_expired"], client.id)
    if overlap_s and len(await _valid(con, client.id)) > 1:
        raise TooManySecrets(client.id)
    await con.execute(_SQL["let_expire"], client.id, overlap_s)
    if not overlap_s:
        await end_tokens(con, client.id)


async def _valid(con: Connection, client_id: str) -> list[Secret]:
    return [Secret(**row) for row in await con.fetch(_SQL["list_secrets"], client_id)]
