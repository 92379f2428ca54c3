"""What no longer counts although its signature does: recorded in PostgreSQL, known in memory.

Redis only says "look now"; it holds nothing, so that losing it loses nothing but speed.
"""

import asyncio
import datetime as dt
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import asyncpg
import redis.asyncio

from auth.signing import CLOCKS_S, MAX_TTL_S
from config import announcements
from config.postgres import Database, load_queries

if TYPE_CHECKING:
    from auth.token import AccessToken

CHANNEL = "naru:revoked"
"""Redis channel on which every process hears that there is something to look at."""

_TIMEOUT_S = 5.0
# As long as a token of the client could live.
_LIFE_S = float(MAX_TTL_S + CLOCKS_S)
_CLEARED_AT_ONCE = 50_000
_SQL = load_queries("auth", "revocations.sql")


async def record_token(db: Database, jti: str, expires: dt.datetime) -> None:
    """Revoke one token, inside the caller's transaction; `expires` is its `exp`."""
    async with asyncio.timeout(_TIMEOUT_S):
        await db.execute(_SQL["record_token"], jti, expires + dt.timedelta(seconds=CLOCKS_S))


async def record_client(db: Database, client_id: str, generation: int) -> None:
    """Do what `record_clients` does for one."""
    await record_clients(db, {client_id: generation})


async def record_clients(db: Database, generations: Mapping[str, int]) -> None:
    """Revoke the tokens of clients of generations below these, inside the caller's transaction.

    What is remembered of their API keys and of foreign tokens that stand for them is looked up
    again.
    """
    ids, lowest = list(generations), list(generations.values())
    async with asyncio.timeout(_TIMEOUT_S):
        await db.execute(_SQL["record_clients"], ids, lowest, _LIFE_S)


async def record_key(db: Database, key_id: str) -> None:
    """Have every process look an API key up again, inside the caller's transaction."""
    async with asyncio.timeout(_TIMEOUT_S):
        await db.execute(_SQL["record_key"], key_id, _LIFE_S)


class Announcer(announcements.Announcer):
    """Tells every process to look for revocations and keys at once instead of at its next poll.

    Args:
        client: None announces nothing; polling finds it all the same.
    """

    def __init__(self, client: "redis.asyncio.Redis | None") -> None:
        super().__init__(client, CHANNEL)


Kind = Literal["token", "client", "key"]


@dataclass(frozen=True, slots=True)
class _Revocation:
    """One row, and the `mark` from which on it was known here."""

    recorded: str
    generation: int
    expires: float
    mark: int


class Revocations:
    """All that is revoked, as one process knows it.

    What is known holds while the store is away. Its size follows the number of tokens revoked
    within an hour, for none of them may be forgotten.

    Attributes:
        mark: Grows with every change; lets a cache ask whether it learned something before.
    """

    def __init__(self, db: asyncpg.Pool) -> None:
        self._db = db
        self._known: dict[tuple[Kind, str], _Revocation] = {}
        self._horizon = "0"
        self.mark = 0

    def revoked(self, claims: "AccessToken") -> bool:
        """Tell whether a token of ours is revoked: itself, or its client's of its generation."""
        if ("token", claims.jti) in self._known:
            return True
        client = self._known.get(("client", claims.client_id))
        return client is not None and claims.generation < client.generation

    def changed(self, since: int, client: str, key: str | None) -> bool:
        """Tell whether something about the client or its API key became known after `since`."""
        if since == self.mark:
            return False
        known = self._known.get(("client", client)), self._known.get(("key", key or ""))
        return any(revocation and revocation.mark > since for revocation in known)

    async def refresh(self) -> None:
        """Learn what was committed since the last look.

        Raises:
            asyncpg.PostgresError, asyncpg.InterfaceError, OSError: The store failed; what was known
                still is.
        """
        async with asyncio.timeout(_TIMEOUT_S):
            rows = await self._db.fetch(_SQL["list_since"], self._horizon)
        for row in rows:
            if row["kind"] is not None:
                self._learn(row)
        self._horizon = rows[0]["horizon"]

    async def clear(self) -> None:
        """Drop what has expired: here, in the store, and what `auth.once` keeps there."""
        now = time.time()
        self._known = {key: known for key, known in self._known.items() if known.expires > now}
        async with asyncio.timeout(_TIMEOUT_S):
            await self._db.execute(_SQL["clear_revocations"])
            await self._db.execute(_SQL["clear_used"], _CLEARED_AT_ONCE)

    def _learn(self, row: asyncpg.Record) -> None:
        known = self._known.get((row["kind"], row["subject"]))
        if known is not None and known.recorded == row["recorded"]:
            return
        self.mark += 1
        expires = row["expires_at"].timestamp()
        self._known[row["kind"], row["subject"]] = _Revocation(
            row["recorded"], row["generation"] or 0, expires, self.mark
        )
