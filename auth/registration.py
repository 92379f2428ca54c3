"""Making tenants, clients, secrets and API keys. A secret is shown once and kept as a hash."""

import asyncio
import secrets
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Unpack

import asyncpg
import msgspec

from auth import errors
from auth.clients import ID, KEY_PREFIX, QUERY_TIMEOUT_S, Client, find_client
from auth.profile import Options, check_id, check_name, checked_scopes, holds_secrets, new_client
from auth.secrets import SecretBox
from config.postgres import Connection, Database, load_queries, tenant_transaction
from config.scope import SCOPES

_SECRET_BYTES = 32
_SQL = load_queries("auth", "registration.sql")


@dataclass(frozen=True, slots=True)
class NewClient:
    """A client just made: the only time its secret can be seen.

    Attributes:
        client_secret: Empty where the client authenticates with its keys alone.
    """

    client_id: str
    client_secret: str = field(repr=False)
    tenant: str
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NewKey:
    """An API key just made: the only time it can be seen.

    Attributes:
        scopes: What it is limited to, or None for everything its client holds.
    """

    key_id: str
    key: str = field(repr=False)
    client_id: str
    scopes: tuple[str, ...] | None


async def create_tenant(db: Database, tenant_id: str, name: str) -> bool:
    """Make a tenant; False: one of this id exists and is left as it is.

    Raises:
        InvalidName: The id or the name breaks its grammar.
    """
    check_id(tenant_id, "tenant id")
    check_name(name)
    async with asyncio.timeout(QUERY_TIMEOUT_S):
        return bool(await db.execute(_SQL["create_tenant"], tenant_id, name) == "INSERT 0 1")


async def create_client(
    db: Database,
    box: SecretBox,
    tenant: str,
    *,
    name: str,
    client_id: str | None = None,
    **options: Unpack[Options],
) -> NewClient:
    """Make a client of `tenant`.

    By default it is an editor with every scope but `admin`, which token requests that name none
    get, authenticates with a secret, and may use whatever its tenant has.

    Args:
        db: Where to store it.
        box: Hashes the secret.
        tenant: Id of a tenant that exists.
        name: For people.
        client_id: Unique over all tenants; random when None.
        options: What else it is.

    Raises:
        RegistrationError: An id or a name breaks its grammar, there is no such tenant, the client
            id is taken, or a client can't be like that.
    """
    if not ID.fullmatch(tenant):
        raise errors.UnknownTenant(tenant)
    client = new_client(client_id or f"client-{secrets.token_hex(8)}", tenant, name, options)
    try:
        async with asyncio.timeout(QUERY_TIMEOUT_S), tenant_transaction(db, tenant) as con:
            await con.execute(_SQL["create_client"], client.id, tenant, *columns(client))
            secret = await create_secret(con, box, client.id) if holds_secrets(client) else ""
    except asyncpg.ForeignKeyViolationError:
        raise errors.UnknownTenant(tenant) from None
    except asyncpg.UniqueViolationError:
        raise errors.ClientExists(client.id) from None
    return NewClient(client.id, secret, tenant, checked_scopes(client.scopes, SCOPES))


async def create_secret(con: Connection, box: SecretBox, client_id: str) -> str:
    """Make a secret and return it, inside the caller's transaction."""
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    id_ = f"secret-{secrets.token_hex(8)}"
    await con.execute(_SQL["create_secret"], id_, client_id, box.digest(secret))
    return secret


async def create_key(
    db: Database,
    box: SecretBox,
    client_id: str,
    *,
    name: str = "",
    scopes: Collection[str] | None = None,
) -> NewKey:
    """Make an API key that acts as `client_id`.

    Args:
        db: Where to store it.
        box: Hashes the key.
        client_id: Whose key it is.
        name: For people; may be empty.
        scopes: Some of the client's; None follows whatever the client holds.

    Raises:
        UnknownClient: There is no such client.
        ClientDisabled: It, or its tenant, is disabled.
        InvalidOption: It uses tokens with DPoP proofs only.
        UnknownScope: The client does not hold one of the scopes, or none is given.
        InvalidName: The name can't be one.
    """
    client = await find_client(db, client_id)
    if client is None:
        raise errors.UnknownClient(client_id)
    if client.disabled_at:
        raise errors.ClientDisabled(client_id)
    if client.dpop:
        raise errors.InvalidOption("dpop", "a client that must prove its key can have no API keys")
    if name:
        check_name(name)
    granted = None if scopes is None else checked_scopes(scopes, client.scopes)
    key_id = f"key-{secrets.token_hex(8)}"
    key = KEY_PREFIX + secrets.token_urlsafe(_SECRET_BYTES)
    async with asyncio.timeout(QUERY_TIMEOUT_S):
        await db.execute(_SQL["create_key"], key_id, client_id, box.digest(key), granted, name)
    return NewKey(key_id, key, client_id, granted)


def columns(client: Client) -> tuple[object, ...]:
    """Return what can be chosen of a client, in the order of the columns."""
    return (
        client.name,
        client.role,
        checked_scopes(client.scopes, SCOPES),
        checked_scopes(client.default_scopes, SCOPES),
        sorted(client.auth_methods),
        msgspec.json.encode(client.jwks).decode() if client.jwks else None,
        sorted(client.assertion_algorithms),
        client.dpop,
        client.allowed.agents,
        client.allowed.models,
        client.allowed.vector_stores,
        client.end_user,
        client.residency,
    )
