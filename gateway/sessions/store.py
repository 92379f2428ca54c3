"""Sessions and their messages in PostgreSQL.

They belong to tenant, client and end user: nobody else reads them, and who asks for no end user
sees those of none.
"""

import uuid
from dataclasses import dataclass, replace
from datetime import timedelta

import asyncpg
import msgspec

from config.masking import MaskingSettings
from config.postgres import Connection, load_queries, tenant_transaction
from config.scope import TenantScope
from gateway.errors import InvalidRequest, NotFound
from gateway.govern.masking.masking import Masking
from gateway.govern.masking.policy import Policy
from gateway.openai.chat import Usage
from gateway.openai.references import Reference
from gateway.openai.traces import TurnTrace
from gateway.sessions.traces import keep_trace

_SQL = load_queries("gateway.sessions", "queries.sql")
_MAX_ID = 256
_MAX_HISTORY = 100


class Session(msgspec.Struct, frozen=True):
    """A conversation; times are in seconds since 1970."""

    id: str
    created_at: int
    updated_at: int


class StoredMessage(msgspec.Struct, frozen=True):
    """One side of a turn; `partial` when the answer broke off."""

    id: str
    role: str
    content: str
    status: str
    agent: str
    model: str | None
    references: list[Reference]
    usage: Usage | None
    created_at: int


@dataclass(frozen=True, slots=True)
class Turn:
    """A question and its answer, stored together or not at all.

    `trace` is how the answer came about.
    """

    message_id: str
    agent: str
    question: str
    answer: str
    model: str
    references: list[Reference]
    usage: Usage
    complete: bool
    trace: TurnTrace | None = None


def new_session_id() -> str:
    """Return an id for a conversation whose caller named none."""
    return f"sess_{uuid.uuid4().hex}"


def new_message_id() -> str:
    """Return an id for a message."""
    return f"msg_{uuid.uuid4().hex}"


def check_session_id(session_id: str) -> str:
    """Return the caller's own id.

    Raises:
        InvalidRequest: It is empty, over 256 characters, or holds control characters.
    """
    if not 0 < len(session_id) <= _MAX_ID or not session_id.isprintable():
        raise InvalidRequest(
            f"session_id: use 1 to {_MAX_ID} printable characters", param="session_id"
        )
    return session_id


class Sessions:
    """The repository of one process; `kept` is how long a session stays after its last turn."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        kept: timedelta | None = None,
        *,
        masking: Masking | None = None,
    ) -> None:
        self._masking = masking or Masking(MaskingSettings())
        self._pool = pool
        self._kept = kept

    async def history(self, scope: TenantScope, session_id: str) -> list[dict[str, str]]:
        """Return the newest messages as `role` and `content`, oldest first; none if unknown."""
        async with tenant_transaction(self._pool, scope.tenant) as con:
            query = _SQL["recent_messages"]
            rows = await con.fetch(query, *_owner(scope), session_id, _MAX_HISTORY)
        return [dict(row) for row in rows]

    async def add_turn(self, scope: TenantScope, session_id: str, turn: Turn) -> None:
        """Store a turn, and its session when it is the first."""
        turn = await _kept(turn, scope, self._masking)
        owner = (*_owner(scope), session_id)
        status = "complete" if turn.complete else "partial"
        citations = msgspec.json.encode(turn.references).decode()
        usage = msgspec.json.encode(turn.usage).decode()
        question = (turn.question, status, turn.agent, None, "[]", None)
        answer = (turn.answer, status, turn.agent, turn.model, citations, usage)
        async with tenant_transaction(self._pool, scope.tenant) as con:
            await con.execute(_SQL["touch_session"], *owner, self._kept)
            await con.execute(_SQL["add_message"], new_message_id(), *owner, "user", *question)
            await con.execute(_SQL["add_message"], turn.message_id, *owner, "assistant", *answer)
            if turn.trace:
                await keep_trace(con, turn.trace)

    async def newest(self, scope: TenantScope, limit: int) -> list[Session]:
        """Return the caller's sessions, the last used first."""
        async with tenant_transaction(self._pool, scope.tenant) as con:
            rows = await con.fetch(_SQL["list_sessions"], *_owner(scope), limit)
        return [Session(**row) for row in rows]

    async def find(self, scope: TenantScope, session_id: str) -> Session:
        """Return one session.

        Raises:
            NotFound: Unknown, or another's.
        """
        async with tenant_transaction(self._pool, scope.tenant) as con:
            return Session(**await _row(con, "find_session", scope, session_id))

    async def delete(self, scope: TenantScope, session_id: str) -> None:
        """Delete a session with its messages.

        Raises:
            NotFound: Unknown, or another's.
        """
        async with tenant_transaction(self._pool, scope.tenant) as con:
            await _row(con, "delete_session", scope, session_id)

    async def messages(self, scope: TenantScope, session_id: str) -> list[StoredMessage]:
        """Return a session's messages, oldest first.

        Raises:
            NotFound: Unknown, or another's.
        """
        async with tenant_transaction(self._pool, scope.tenant) as con:
            await _row(con, "find_session", scope, session_id)
            rows = await con.fetch(_SQL["list_messages"], *_owner(scope), session_id)
        return [_message(row) for row in rows]


async def _kept(turn: Turn, scope: TenantScope, masking: Masking) -> Turn:
    """Return a turn as the policy lets it be stored."""
    policy = masking.policies.at("storage", tenant=scope.tenant, agent=turn.agent)
    if policy.allows_all:
        return turn
    quotes = [await masking.mask(each.content, policy) for each in turn.references]
    return replace(
        turn,
        question=await masking.mask(turn.question, policy),
        answer=await masking.mask(turn.answer, policy),
        references=[
            msgspec.structs.replace(each, content=quote)
            for each, quote in zip(turn.references, quotes, strict=True)
        ],
        trace=turn.trace and await _kept_trace(turn.trace, policy, masking),
    )


async def _kept_trace(trace: TurnTrace, policy: Policy, masking: Masking) -> TurnTrace:
    text = await masking.mask(trace.searched.text, policy)
    searched = msgspec.structs.replace(trace.searched, text=text)
    return msgspec.structs.replace(trace, searched=searched)


async def _row(
    con: Connection, statement: str, scope: TenantScope, session_id: str
) -> asyncpg.Record:
    row = await con.fetchrow(_SQL[statement], *_owner(scope), session_id)
    if row is None:
        raise NotFound("no such session of yours", code="session_not_found")
    return row


def _owner(scope: TenantScope) -> tuple[str, str, str]:
    return scope.tenant, scope.client, scope.end_user


def _message(row: asyncpg.Record) -> StoredMessage:
    values = dict(row)
    references = msgspec.json.decode(values.pop("citations"), type=list[Reference])
    usage = values.pop("usage")
    decoded = msgspec.json.decode(usage, type=Usage) if usage else None
    return StoredMessage(**values, references=references, usage=decoded)
