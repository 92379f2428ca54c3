"""Tenants, OAuth clients and API keys, as stored. Secrets are shown once and kept as hashes."""

import asyncio
import datetime as dt
import hmac
import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Literal

import asyncpg
import msgspec

from auth import errors
from auth.revocations import record_key
from auth.secrets import SecretBox
from config.postgres import Database, load_queries, tenant_transaction
from config.scope import DEFAULT_SCOPES, SCOPES, Allowed, Role, TenantScope

EndUserPolicy = Literal["forbidden", "optional", "required"]

KEY_PREFIX = "sk-naru-"
QUERY_TIMEOUT_S = 5.0

# No character that HTTP Basic, a URL or a form would have to encode.
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_KEY = re.compile(KEY_PREFIX + r"[A-Za-z0-9_-]{43}")
_SECRET_BYTES = 32
_NO_HASH = bytes(32)
_SQL = load_queries("auth", "clients.sql")


@dataclass(frozen=True, slots=True)
class Client:
    """A registered OAuth client.

    Attributes:
        role: What it may do within its tenant.
        scopes: Everything it may ask for.
        default_scopes: What it gets when it asks for nothing in particular.
        auth_methods: How it may authenticate, out of `client_auth.METHODS`.
        jwks: A JWK Set of its public keys, for private_key_jwt.
        assertion_algorithms: What its assertions may be signed with.
        dpop: Whether it gets and uses tokens with DPoP proofs only.
        allowed: Which objects it may use.
        end_user: Whether its requests may, must or must not name an end user.
        generation: Its tokens of lower generations are revoked.
        disabled_at: Since when it is refused, by itself or with its tenant; or None.
    """

    id: str
    tenant: str
    name: str
    role: Role
    scopes: frozenset[str]
    default_scopes: frozenset[str]
    auth_methods: frozenset[str]
    jwks: dict[str, Any] | None
    assertion_algorithms: frozenset[str]
    dpop: bool
    allowed: Allowed
    end_user: EndUserPolicy
    generation: int
    created_at: dt.datetime
    disabled_at: dt.datetime | None


@dataclass(frozen=True, slots=True)
class KeyHolder:
    """Whom an API key stands for, and its client's rule on end users."""

    scope: TenantScope
    end_user: EndUserPolicy


@dataclass(frozen=True, slots=True)
class NewClient:
    """A client just made: the only time its secret can be seen."""

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


async def create_tenant(db: Database, tenant_id: str, name: str) -> None:
    """Make a tenant; one that exists is left as it is.

    Raises:
        InvalidName: The id or the name breaks its grammar.
    """
    _check_id(tenant_id, "tenant id")
    _check_name(name)
    async with asyncio.timeout(QUERY_TIMEOUT_S):
        await db.execute(_SQL["create_tenant"], tenant_id, name)


async def create_client(
    db: Database,
    box: SecretBox,
    tenant: str,
    *,
    name: str,
    scopes: Collection[str] = DEFAULT_SCOPES,
    client_id: str | None = None,
) -> NewClient:
    """Make a client of `tenant`; token requests that name no scope get all of `scopes`.

    Args:
        db: Where to store it.
        box: Hashes the secret.
        tenant: Id of a tenant that exists.
        name: For people.
        scopes: What it may do; by default everything but `admin`.
        client_id: Unique over all tenants; random when None.

    Raises:
        InvalidName: The id or the name breaks its grammar.
        UnknownScope: A scope does not exist, or none is given.
        UnknownTenant: There is no such tenant.
        ClientExists: The client id is taken.
    """
    client_id = client_id or f"client-{secrets.token_hex(8)}"
    _check_id(client_id, "client id")
    _check_name(name)
    if not _ID.fullmatch(tenant):
        raise errors.UnknownTenant(tenant)
    granted = _checked_scopes(scopes, SCOPES)
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    secret_id = f"secret-{secrets.token_hex(8)}"
    try:
        async with asyncio.timeout(QUERY_TIMEOUT_S), tenant_transaction(db, tenant) as con:
            await con.execute(_SQL["create_client"], client_id, tenant, name, granted)
            await con.execute(_SQL["create_secret"], secret_id, client_id, box.digest(secret))
    except asyncpg.ForeignKeyViolationError:
        raise errors.UnknownTenant(tenant) from None
    except asyncpg.UniqueViolationError:
        raise errors.ClientExists(client_id) from None
    return NewClient(client_id, secret, tenant, granted)


async def create_key(
    db: Database, box: SecretBox, client_id: str, *, scopes: Collection[str] | None = None
) -> NewKey:
    """Make an API key that acts as `client_id`.

    Args:
        db: Where to store it.
        box: Hashes the key.
        client_id: Whose key it is.
        scopes: Some of the client's; None follows whatever the client holds.

    Raises:
        UnknownClient: There is no such client, or it is disabled.
        UnknownScope: The client does not hold one of the scopes, or none is given.
    """
    client = await find_client(db, client_id)
    if client is None or client.disabled_at:
        raise errors.UnknownClient(client_id)
    granted = None if scopes is None else _checked_scopes(scopes, client.scopes)
    key_id = f"key-{secrets.token_hex(8)}"
    key = KEY_PREFIX + secrets.token_urlsafe(_SECRET_BYTES)
    async with asyncio.timeout(QUERY_TIMEOUT_S):
        await db.execute(_SQL["create_key"], key_id, client_id, box.digest(key), granted)
    return NewKey(key_id, key, client_id, granted)


async def find_client(db: Database, client_id: str) -> Client | None:
    """Return the client, disabled ones too, or None. Any text is a valid question."""
    if not _ID.fullmatch(client_id):
        return None
    async with asyncio.timeout(QUERY_TIMEOUT_S):
        row = await db.fetchrow(_SQL["find_client"], client_id)
    return _client(row) if row else None


async def find_authenticated(
    db: Database, box: SecretBox, client_id: str, secret: str
) -> Client | None:
    """Return the active client whose secret this is, or None.

    A wrong secret takes as long as an unknown, disabled or malformed client id.
    """
    asked = client_id if _ID.fullmatch(client_id) else ""
    digest = box.digest(secret)
    async with asyncio.timeout(QUERY_TIMEOUT_S):
        stored = await db.fetchval(_SQL["find_secret_hashes"], asked)
    # Always two comparisons, whatever there is to compare with.
    candidates = (*stored, _NO_HASH, _NO_HASH)[:2]
    same = [hmac.compare_digest(digest, candidate) for candidate in candidates]
    if not any(same):
        return None
    client = await find_client(db, client_id)
    return None if client is None or client.disabled_at else client


async def list_clients(db: Database, tenant: str) -> list[Client]:
    """Return a tenant's clients, disabled ones too, oldest first."""
    if not _ID.fullmatch(tenant):
        return []
    async with asyncio.timeout(QUERY_TIMEOUT_S):
        rows = await db.fetch(_SQL["list_clients"], tenant)
    return [_client(row) for row in rows]


async def find_key(db: Database, box: SecretBox, key: str) -> KeyHolder | None:
    """Return whom an API key stands for; None when unknown, disabled or malformed."""
    if not _KEY.fullmatch(key):
        return None
    async with asyncio.timeout(QUERY_TIMEOUT_S):
        row = await db.fetchrow(_SQL["find_key"], box.digest(key))
    if row is None:
        return None
    # The client may have lost a scope since the key was made.
    scopes = frozenset(row["scopes"]) & frozenset(row["client_scopes"])
    scope = TenantScope(
        tenant=row["tenant"],
        client=row["client"],
        scopes=scopes,
        key=row["id"],
        role=row["role"],
        allowed=_allowed(row),
    )
    return KeyHolder(scope, row["end_user"])


async def disable_key(db: Database, key_id: str) -> None:
    """End an API key for good; announce it afterwards."""
    async with asyncio.timeout(QUERY_TIMEOUT_S):
        await db.execute(_SQL["disable_key"], key_id)
        await record_key(db, key_id)


def _client(row: asyncpg.Record) -> Client:
    values = {name: value for name, value in row.items() if not name.startswith("allowed_")}
    for name in ("scopes", "default_scopes", "auth_methods", "assertion_algorithms"):
        values[name] = frozenset(row[name])
    values["jwks"] = msgspec.json.decode(row["jwks"]) if row["jwks"] else None
    return Client(**values, allowed=_allowed(row))


def _allowed(row: asyncpg.Record) -> Allowed:
    columns = (row["allowed_agents"], row["allowed_models"], row["allowed_vector_stores"])
    return Allowed(*(None if names is None else frozenset(names) for names in columns))


def _checked_scopes(scopes: Collection[str], allowed: Collection[str]) -> tuple[str, ...]:
    """Return `scopes` in the order of `SCOPES`, each once."""
    unknown = sorted(set(scopes) - set(allowed))
    if unknown or not scopes:
        choice = ", ".join(scope for scope in SCOPES if scope in allowed)
        fault = f"can't grant {', '.join(unknown)}" if unknown else "a scope is needed"
        raise errors.UnknownScope(f"{fault}: choose from {choice}")
    return tuple(scope for scope in SCOPES if scope in scopes)


def _check_id(value: str, what: str) -> None:
    if not _ID.fullmatch(value):
        raise errors.InvalidName(
            f"the {what} {value!r} must be 1 to 64 letters, digits, '.', '_' or '-'"
        )


def _check_name(name: str) -> None:
    if not (name.isprintable() and 1 <= len(name) <= 200):
        raise errors.InvalidName("a name must have 1 to 200 printable characters")
