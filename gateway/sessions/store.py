"""Sessions and their messages in PostgreSQL.

They belong to tenant, client and end user: nobody else reads them, and who asks for no end user
sees those of none.
"""

import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import asyncpg
import msgspec

from config.masking import MaskingSettings
from config.postgres import Connection, load_queries, tenant_transaction
from config.scope import TenantScope
from gateway.errors import Conflict, InvalidRequest, NotFound
from gateway.govern.masking.kinds import Kind
from gateway.govern.masking.masking import Masking
from gateway.openai.chat import Usage
from gateway.openai.references import Reference, hiding
from gateway.openai.traces import TurnTrace
from gateway.sessions.traces import keep_trace

_SQL = load_queries("gateway.sessions", "queries.sql")
_MAX_ID = 256
_REPLAYED = timedelta(days=1)
_decode_item = msgspec.json.Decoder(dict[str, Any]).decode

Owner = tuple[str, str, str, str]
"""Tenant, client, end user, and the id of a session of theirs."""


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

    Attributes:
        trace: How the answer came about.
        told: The answer as JSON, for who asks for it again.
        asks: The model that the agent asks, by the name in its definition.
        known: What is personal in the passages, and so in what is quoted of them.
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
    told: bytes = b"null"
    asks: str = ""
    known: Mapping[str, Kind] = field(default_factory=dict)


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
    """The repository of one process.

    `kept` is how long a session stays after its last turn, `replayed` how long a turn is told again
    to who sends its `Idempotency-Key` or comes back to its stream.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        kept: timedelta | None = None,
        replayed: timedelta = _REPLAYED,
        *,
        masking: Masking | None = None,
    ) -> None:
        self._masking = masking or Masking(MaskingSettings())
        self._pool = pool
        self._kept = kept
        self._replayed = replayed

    async def add_turn(self, scope: TenantScope, session_id: str, turn: Turn) -> None:
        """Store the turn that holds the session, and the session when it is the first.

        Raises:
            Conflict: It holds it no more: the session was deleted, or its process was thought dead.
        """
        owner = (*owner_of(scope), session_id)
        turn = await storable(turn, scope.tenant, self._masking)
        async with tenant_transaction(self._pool, scope.tenant) as con:
            asked = await write_turn(con, owner, turn, self._kept)
            await self._finish(con, turn, asked)

    async def _finish(self, con: Connection, turn: Turn, asked: str) -> None:
        if await finish_unkept(con, turn.message_id):
            return
        state = "complete" if turn.complete else "partial"
        values = turn.message_id, state, turn.told.decode(), asked, self._replayed
        if await con.fetchval(_SQL["finish"], *values) is None:
            raise lost()

    async def newest(
        self, scope: TenantScope, limit: int, after: str | None = None
    ) -> list[Session]:
        """Return the caller's sessions, the last used first, those behind the session `after`.

        Raises:
            NotFound: There is no session `after`.
        """
        async with tenant_transaction(self._pool, scope.tenant) as con:
            if after is not None:
                await _row(con, "find_session", (*owner_of(scope), after))
            rows = await con.fetch(_SQL["list_sessions"], *owner_of(scope), after, limit)
        return [Session(**row) for row in rows]

    async def find(self, scope: TenantScope, session_id: str) -> Session:
        """Return one session.

        Raises:
            NotFound: Unknown, or another's.
        """
        async with tenant_transaction(self._pool, scope.tenant) as con:
            return Session(**await _row(con, "find_session", (*owner_of(scope), session_id)))

    async def delete(self, scope: TenantScope, session_id: str) -> None:
        """Delete a session with its messages and all that was made of them.

        Raises:
            NotFound: Unknown, or another's.
        """
        async with tenant_transaction(self._pool, scope.tenant) as con:
            if not await delete_session(con, (*owner_of(scope), session_id)):
                raise _missing()

    async def message(self, scope: TenantScope, session_id: str, message_id: str) -> StoredMessage:
        """Return one message.

        Raises:
            NotFound: There is no such session of the caller, or no such message in it.
        """
        async with tenant_transaction(self._pool, scope.tenant) as con:
            values = dict(await _message_row(con, (*owner_of(scope), session_id), message_id))
        values.pop("ordinal")
        return _message(values)

    async def messages(
        self, scope: TenantScope, session_id: str, limit: int = 100, after: str | None = None
    ) -> list[StoredMessage]:
        """Return messages of a session, oldest first, those behind the message `after`.

        Raises:
            NotFound: There is no such session of the caller, or no such message in it.
        """
        owner = (*owner_of(scope), session_id)
        async with tenant_transaction(self._pool, scope.tenant) as con:
            await _row(con, "find_session", owner)
            last = (await _message_row(con, owner, after))["ordinal"] if after else None
            rows = await con.fetch(_SQL["list_messages"], *owner, last, limit)
        return [_message(dict(row)) for row in rows]

    async def fork(
        self, scope: TenantScope, session_id: str, forked: str, up_to: str | None
    ) -> Session:
        """Copy a session, or what of it stands up to the message `up_to`, as the session `forked`.

        Raises:
            NotFound: There is no such session of the caller, or no such message in it.
            Conflict: There is a session `forked` already.
        """
        owner, copy = (*owner_of(scope), session_id), (*owner_of(scope), forked)
        async with tenant_transaction(self._pool, scope.tenant) as con:
            await _row(con, "find_session", owner)
            last = (await _message_row(con, owner, up_to))["ordinal"] if up_to else None
            await lock_session(con, copy)
            busy = await con.fetchval(_SQL["answered"], *copy)
            made = busy or await con.fetchrow(_SQL["insert_fork"], *owner, forked, self._kept)
            if busy or made is None:
                raise Conflict(
                    "session_id: there is a session of that name: choose another",
                    param="session_id",
                    code="session_exists",
                )
            for row in await con.fetch(_SQL["items_up_to"], *owner, last):
                await con.execute(_SQL["copy_message"], row["id"], *_copied(row, forked))
        return Session(**made)


async def storable(turn: Turn, tenant: str, masking: Masking) -> Turn:
    """Return a turn as the policy lets it be stored."""
    policy = masking.policies.at("storage", tenant=tenant, model=turn.asks, agent=turn.agent)
    if policy.allows_all:
        return turn

    async def hidden(text: str) -> str:
        return await masking.mask(text, policy, turn.known)

    return replace(
        turn,
        question=await hidden(turn.question),
        answer=await hidden(turn.answer),
        references=await hiding(turn.references, hidden),
        trace=turn.trace and await _kept_trace(turn.trace, hidden),
    )


async def _kept_trace(trace: TurnTrace, hidden: Callable[[str], Awaitable[str]]) -> TurnTrace:
    searched = msgspec.structs.replace(trace.searched, text=await hidden(trace.searched.text))
    candidates = [
        msgspec.structs.replace(each, source=await hidden(each.source)) for each in trace.candidates
    ]
    return msgspec.structs.replace(trace, searched=searched, candidates=candidates)


async def write_turn(con: Connection, owner: Owner, turn: Turn, kept: timedelta | None) -> str:
    """Store both sides of a turn in the caller's transaction; return the question's id."""
    status = "complete" if turn.complete else "partial"
    citations = msgspec.json.encode(turn.references).decode()
    usage = msgspec.json.encode(turn.usage).decode()
    question = (turn.question, status, turn.agent, None, "[]", None)
    answer = (turn.answer, status, turn.agent, turn.model, citations, usage)
    asked = new_message_id()
    await con.execute(_SQL["touch_session"], *owner, kept)
    await con.execute(_SQL["add_message"], asked, *owner, "user", *question)
    await con.execute(_SQL["add_message"], turn.message_id, *owner, "assistant", *answer)
    if turn.trace:
        await keep_trace(con, turn.trace)
    return asked


async def lock_session(con: Connection, owner: Owner) -> None:
    """Keep everybody else from beginning a turn in a session until the transaction ends."""
    await lock(con, "session", *owner)


async def lock(con: Connection, *name: str) -> None:
    """Wait for whoever holds the lock of that name; hold it until the transaction ends."""
    await con.execute(_SQL["lock"], msgspec.json.encode(name).decode())


async def finish_unkept(con: Connection, message_id: str) -> bool:
    """End a turn that holds its session and is kept for nobody, in the caller's transaction.

    False where it holds it no more, or is kept.
    """
    return await con.fetchval(_SQL["finish_unkept"], message_id) is not None


async def delete_session(con: Connection, owner: Owner) -> bool:
    """Delete a session in the caller's transaction; False where there is none.

    Whatever names its messages goes with them; turns under way find out when they end.
    """
    if await con.fetchval(_SQL["delete_session"], *owner) is None:
        return False
    await con.execute(_SQL["forget_turns"], *owner)
    return True


def lost() -> Conflict:
    """Return the error for a turn that is not its process's any more."""
    return Conflict(
        "the session was deleted meanwhile, or this turn was taken for dead: ask again",
        code="turn_lost",
    )


def owner_of(scope: TenantScope) -> tuple[str, str, str]:
    """Return whose a caller's sessions are."""
    return scope.tenant, scope.client, scope.end_user


async def _row(con: Connection, statement: str, owner: Owner) -> asyncpg.Record:
    row = await con.fetchrow(_SQL[statement], *owner)
    if row is None:
        raise _missing()
    return row


async def _message_row(con: Connection, owner: Owner, message_id: str) -> asyncpg.Record:
    row = await con.fetchrow(_SQL["find_message"], *owner, message_id)
    if row is None:
        raise NotFound("no such message in a session of yours", code="message_not_found")
    return row


def _missing() -> NotFound:
    return NotFound("no such session of yours", code="session_not_found")


def _copied(row: asyncpg.Record, forked: str) -> tuple[str, str, str | None]:
    """Return a copy's id, its session, and its item under that id."""
    copy = f"{row['id'].partition('_')[0]}_{uuid.uuid4().hex}"
    if row["item"] is None:
        return copy, forked, None
    item = _decode_item(row["item"]) | {"id": copy}
    return copy, forked, msgspec.json.encode(item).decode()


def _message(values: dict[str, Any]) -> StoredMessage:
    references = msgspec.json.decode(values.pop("citations"), type=list[Reference])
    usage = values.pop("usage")
    decoded = msgspec.json.decode(usage, type=Usage) if usage else None
    return StoredMessage(**values, references=references, usage=decoded)
