"""What users think of answers: ratings, comments, corrections."""

from dataclasses import dataclass

import asyncpg
import msgspec

from config.postgres import load_queries, tenant_transaction
from config.scope import TenantScope
from gateway.errors import NotFound
from gateway.openai.references import Reference

_SQL = load_queries("gateway.sessions", "feedback.sql")


@dataclass(frozen=True, slots=True)
class Opinion:
    """What is thought of an answer; `corrected` is the answer that would have been right."""

    up: bool
    comment: str | None = None
    corrected: str | None = None


class Feedback(msgspec.Struct, frozen=True):
    """An opinion as it is kept; `agent_version` is None where no trace told it."""

    message_id: str
    agent: str
    agent_version: int | None
    up: bool
    comment: str | None
    corrected: str | None
    created_at: int


class RatedTurn(Feedback, frozen=True):
    """An opinion with the turn that it is about."""

    question: str
    answer: str
    model: str | None
    references: list[Reference]


class Tally(msgspec.Struct, frozen=True):
    """How often a version of an agent was found good, and bad."""

    version: int | None
    up: int
    down: int


async def rated_agent(pool: asyncpg.Pool, scope: TenantScope, message_id: str) -> str:
    """Return the name of the agent whose answer a message is.

    Raises:
        NotFound: The message is not an agent's answer in a session of the caller's.
    """
    async with tenant_transaction(pool, scope.tenant) as con:
        agent: str | None = await con.fetchval(_SQL["agent"], *_owner(scope), message_id)
    if agent is None:
        raise _unknown()
    return agent


async def give_feedback(
    pool: asyncpg.Pool, scope: TenantScope, message_id: str, opinion: Opinion
) -> Feedback:
    """Keep what the caller thinks of an agent's answer; the last opinion counts.

    Raises:
        NotFound: The message is not an agent's answer in a session of the caller's.
    """
    said = opinion.comment, opinion.corrected
    async with tenant_transaction(pool, scope.tenant) as con:
        row = await con.fetchrow(_SQL["give"], *_owner(scope), message_id, opinion.up, *said)
    if row is None:
        raise _unknown()
    return Feedback(**row)


async def take_back_feedback(pool: asyncpg.Pool, scope: TenantScope, message_id: str) -> None:
    """Forget what the caller thought.

    Raises:
        NotFound: There is nothing of the caller's to forget.
    """
    async with tenant_transaction(pool, scope.tenant) as con:
        if await con.fetchval(_SQL["take_back"], *_owner(scope), message_id) is None:
            raise _unknown()


async def list_feedback(
    pool: asyncpg.Pool, scope: TenantScope, *, agent: str | None, after: str | None, limit: int
) -> list[RatedTurn]:
    """Return the tenant's feedback with its turns, the oldest first, from behind `after`."""
    async with tenant_transaction(pool, scope.tenant) as con:
        rows = await con.fetch(_SQL["page"], scope.tenant, agent, after, limit)
    return [_rated(row) for row in rows]


async def tally_feedback(pool: asyncpg.Pool, scope: TenantScope, agent: str) -> list[Tally]:
    """Return the ratings of an agent's versions."""
    async with tenant_transaction(pool, scope.tenant) as con:
        rows = await con.fetch(_SQL["tally"], scope.tenant, agent)
    return [Tally(**row) for row in rows]


def _rated(row: asyncpg.Record) -> RatedTurn:
    values = dict(row)
    references = msgspec.json.decode(values.pop("citations"), type=list[Reference])
    return RatedTurn(**values, references=references)


def _owner(scope: TenantScope) -> tuple[str, str, str]:
    return scope.tenant, scope.client, scope.end_user


def _unknown() -> NotFound:
    message = "no such answer of an agent in a session of yours"
    return NotFound(message, param="message_id", code="message_not_found")
