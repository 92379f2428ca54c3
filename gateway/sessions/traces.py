"""How a message came about, stored beside it."""

import asyncpg
import msgspec

from config.postgres import Connection, load_queries, tenant_transaction
from config.scope import TenantScope
from gateway.errors import NotFound
from gateway.openai.traces import TurnTrace

_SQL = load_queries("gateway.sessions", "traces.sql")


async def keep_trace(con: Connection, trace: TurnTrace) -> None:
    """Store its message's trace in the caller's transaction."""
    text = msgspec.json.encode(trace).decode()
    await con.execute(_SQL["keep"], trace.message_id, text)


async def find_trace(
    pool: asyncpg.Pool, scope: TenantScope, session_id: str, message_id: str
) -> TurnTrace | None:
    """Return how an answer came about; None for one that was stored without.

    Raises:
        NotFound: There is no such answer in a session of the caller.
    """
    owner = scope.tenant, scope.client, scope.end_user, session_id
    async with tenant_transaction(pool, scope.tenant) as con:
        row = await con.fetchrow(_SQL["find"], *owner, message_id)
    if row is None:
        raise NotFound("no such answer in a session of yours", code="message_not_found")
    return row["trace"] and msgspec.json.decode(row["trace"], type=TurnTrace)
