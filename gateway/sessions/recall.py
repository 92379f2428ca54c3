"""What of a session a turn begins with."""

from dataclasses import dataclass

import asyncpg
import msgspec

from config.postgres import load_queries, tenant_transaction
from config.scope import TenantScope
from gateway.errors import NotFound
from gateway.openai.references import Reference

_SQL = load_queries("gateway.sessions", "recall.sql")
_NEWEST = 100


@dataclass(frozen=True, slots=True)
class Said:
    """A message of user or agent; `ordinal` is its place in the session."""

    ordinal: int
    role: str
    content: str
    references: list[Reference]


@dataclass(frozen=True, slots=True)
class Recalled:
    """The newest messages that no summary covers, oldest first, and the summary of those before."""

    messages: list[Said]
    summary: str


@dataclass(frozen=True, slots=True)
class Answered:
    """A question and its answer; `ordinal` is the question's place in the session."""

    ordinal: int
    question: str
    answer: str
    references: list[Reference]
    agent: str
    model: str | None
    created_at: int


async def recall(
    pool: asyncpg.Pool,
    scope: TenantScope,
    session_id: str,
    *,
    summarized: bool,
    before: int | None = None,
) -> Recalled:
    """Return what was said in a session, or before the ordinal `before`; nothing if unknown.

    Unless it is to be `summarized`, the messages that a summary covers are returned as well.
    """
    owner = scope.tenant, scope.client, scope.end_user, session_id
    async with tenant_transaction(pool, scope.tenant, snapshot=True) as con:
        row = await con.fetchrow(_SQL["summary"], *owner)
        summary, covered = (row["summary"], row["summarized"]) if row else ("", 0)
        if not summarized or (before is not None and covered >= before):
            summary, covered = "", 0
        rows = await con.fetch(_SQL["said"], *owner, covered, before, _NEWEST)
    return Recalled([_said(row) for row in rows], summary)


async def keep_summary(
    pool: asyncpg.Pool, scope: TenantScope, session_id: str, summary: str, up_to: int
) -> None:
    """Keep the summary of a session's messages up to an ordinal, unless there is a later one."""
    owner = scope.tenant, scope.client, scope.end_user, session_id
    async with tenant_transaction(pool, scope.tenant) as con:
        await con.execute(_SQL["keep_summary"], *owner, summary, up_to)


async def find_answer(
    pool: asyncpg.Pool, scope: TenantScope, session_id: str, message_id: str
) -> Answered:
    """Return an answer with its question.

    Raises:
        NotFound: There is no such answer in a session of the caller.
    """
    owner = scope.tenant, scope.client, scope.end_user, session_id
    async with tenant_transaction(pool, scope.tenant) as con:
        row = await con.fetchrow(_SQL["asked"], *owner, message_id)
    if row is None:
        raise NotFound("no such answer in a session of yours", code="message_not_found")
    values = dict(row)
    return Answered(references=_references(values.pop("citations")), **values)


def _said(row: asyncpg.Record) -> Said:
    return Said(row["ordinal"], row["role"], row["content"], _references(row["citations"]))


_references = msgspec.json.Decoder(list[Reference]).decode
