"""What this server has issued and still counts, for revocation and introspection.

The store is asked every time: the answer is exact at once, also where nobody announced anything.
"""

import asyncio
import datetime as dt
from dataclasses import dataclass
from typing import Any, Protocol

import asyncpg

from auth import token
from auth.clients import KEY_PREFIX, Client, disable_key, find_client, find_key
from auth.errors import InvalidToken
from auth.keys import SigningKeys
from auth.profile import rank
from auth.revocations import record_token
from auth.secrets import SecretBox
from auth.token import AccessToken
from config.postgres import load_queries
from config.scope import SCOPES, TenantScope

_TIMEOUT_S = 5.0
_SQL = load_queries("auth", "issued.sql")


class Issued(Protocol):
    """A token or an API key that counts at this moment."""

    @property
    def client(self) -> str:
        """Id of the client it was issued to."""
        ...

    @property
    def tenant(self) -> str:
        """Id of that client's tenant."""
        ...

    def claims(self) -> dict[str, Any]:
        """Return what RFC 7662 section 2.2 and ours tell of it."""
        ...

    async def revoke(self, db: asyncpg.Pool) -> None:
        """End it; announce it afterwards."""
        ...


async def find_issued(
    db: asyncpg.Pool,
    box: SecretBox,
    keys: SigningKeys,
    text: str,
    *,
    issuer: str,
    audiences: tuple[str, ...],
) -> Issued | None:
    """Return what `text` is, or None when it does not count. Any text is a valid question.

    Raises:
        asyncpg.PostgresError, asyncpg.InterfaceError, OSError: The store failed.
    """
    if text.startswith(KEY_PREFIX):
        holder = await find_key(db, box, text)
        return IssuedKey(holder.scope) if holder else None
    try:
        signed = token.parse(text)
        audience = _audience(signed.claims.get("aud"), audiences)
        claims = await token.check_patiently(signed, keys, issuer=issuer, audience=audience)
    except InvalidToken:
        return None
    client = await find_client(db, claims.client_id)
    if client is None or client.disabled_at or claims.generation < client.generation:
        return None
    async with asyncio.timeout(_TIMEOUT_S):
        if await db.fetchval(_SQL["is_revoked"], claims.jti):
            return None
    return IssuedToken(claims)


def _audience(claimed: object, audiences: tuple[str, ...]) -> str:
    """Choose which of our audiences a token must be checked for."""
    named = claimed if isinstance(claimed, list) else [claimed]
    return next((audience for audience in audiences if audience in named), audiences[0])


def may_see(caller: Client, issued: Issued) -> bool:
    """Tell whether a client may learn about this: its own, or by its role and the scope `admin`."""
    if issued.client == caller.id:
        return True
    if "admin" not in caller.scopes:
        return False
    return caller.role == "operator" or (caller.role == "admin" and issued.tenant == caller.tenant)


async def may_revoke(db: asyncpg.Pool, caller: Client, issued: Issued) -> bool:
    """Tell whether a client may end this: its own, or by who may change the client that holds it.

    Raises:
        asyncpg.PostgresError, asyncpg.InterfaceError, OSError: The store failed.
    """
    if issued.client == caller.id:
        return True
    if not may_see(caller, issued):
        return False
    holder = await find_client(db, issued.client)
    return holder is not None and rank(holder.role) <= rank(caller.role)


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """An access token of ours."""

    token: AccessToken

    @property
    def client(self) -> str:
        """Id of the client it was issued to."""
        return self.token.client_id

    @property
    def tenant(self) -> str:
        """Id of that client's tenant."""
        return self.token.tenant

    def claims(self) -> dict[str, Any]:
        """Return its own claims, but for those that are only ours to read."""
        named = ("scope", "client_id", "exp", "iat", "sub", "aud", "iss", "jti", "tenant")
        claims = {name: getattr(self.token, name) for name in named}
        if self.token.cnf is None:
            return {**claims, "token_type": "Bearer"}
        return {**claims, "token_type": "DPoP", "cnf": {"jkt": self.token.cnf.jkt}}

    async def revoke(self, db: asyncpg.Pool) -> None:
        """End it; announce it afterwards."""
        expires = dt.datetime.fromtimestamp(self.token.exp, dt.UTC)
        await record_token(db, self.token.jti, expires)


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """An API key, which has no end of its own."""

    scope: TenantScope

    @property
    def client(self) -> str:
        """Id of the client it acts as."""
        return self.scope.client

    @property
    def tenant(self) -> str:
        """Id of that client's tenant."""
        return self.scope.tenant

    def claims(self) -> dict[str, Any]:
        """Return what a token of its client would say."""
        scope = " ".join(name for name in SCOPES if name in self.scope.scopes)
        return {
            "scope": scope,
            "client_id": self.client,
            "sub": self.client,
            "token_type": "Bearer",
            "tenant": self.tenant,
        }

    async def revoke(self, db: asyncpg.Pool) -> None:
        """Disable it; announce it afterwards."""
        async with asyncio.timeout(_TIMEOUT_S), db.acquire() as con, con.transaction():
            await disable_key(con, str(self.scope.key))
