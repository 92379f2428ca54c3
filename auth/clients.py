"""OAuth clients and API keys, as they are looked up by whoever authenticates."""

import asyncio
import datetime as dt
import hmac
import re
from dataclasses import dataclass
from typing import Any, Literal

import asyncpg
import msgspec

from auth.revocations import record_key
from auth.secrets import SecretBox
from config.postgres import Connection, Database, load_queries
from config.scope import Allowed, Residency, Role, TenantScope

EndUserPolicy = Literal["forbidden", "optional", "required"]

KEY_PREFIX = "sk-naru-"
QUERY_TIMEOUT_S = 5.0

# No character that HTTP Basic, a URL or a form would have to encode.
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""What the id of a tenant or a client looks like."""

_KEY = re.compile(KEY_PREFIX + r"[A-Za-z0-9_-]{43}")
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
        residency: Where its prompts may go.
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
    residency: Residency
    generation: int
    created_at: dt.datetime
    disabled_at: dt.datetime | None


@dataclass(frozen=True, slots=True)
class KeyHolder:
    """Whom an API key stands for, and its client's rule on end users."""

    scope: TenantScope
    end_user: EndUserPolicy


async def find_client(db: Database, client_id: str) -> Client | None:
    """Return the client, disabled ones too, or None. Any text is a valid question."""
    if not ID.fullmatch(client_id):
        return None
    async with asyncio.timeout(QUERY_TIMEOUT_S):
        row = await db.fetchrow(_SQL["find_client"], client_id)
    return read_client(row) if row else None


async def find_authenticated(
    db: Database, box: SecretBox, client_id: str, secret: str
) -> Client | None:
    """Return the active client whose secret this is, or None.

    A wrong secret takes as long as an unknown, disabled or malformed client id.
    """
    asked = client_id if ID.fullmatch(client_id) else ""
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


async def find_key(db: Database, box: SecretBox, key: str) -> KeyHolder | None:
    """Return whom an API key stands for; None when unknown, disabled or malformed.

    Keys of a client that is bound to DPoP stand for nobody.
    """
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
        local_only=row["residency"] == "local",
    )
    return KeyHolder(scope, row["end_user"])


async def disable_key(con: Connection, key_id: str) -> None:
    """End an API key for good, inside the caller's transaction; announce it afterwards."""
    async with asyncio.timeout(QUERY_TIMEOUT_S):
        await con.execute(_SQL["disable_key"], key_id)
        await record_key(con, key_id)


def read_client(row: asyncpg.Record) -> Client:
    """Return a row of `clients` as a client."""
    values = {name: value for name, value in row.items() if not name.startswith("allowed_")}
    for name in ("scopes", "default_scopes", "auth_methods", "assertion_algorithms"):
        values[name] = frozenset(row[name])
    values["jwks"] = msgspec.json.decode(row["jwks"]) if row["jwks"] else None
    return Client(**values, allowed=_allowed(row))


def _allowed(row: asyncpg.Record) -> Allowed:
    columns = (row["allowed_agents"], row["allowed_models"], row["allowed_vector_stores"])
    return Allowed(*(None if names is None else frozenset(names) for names in columns))
