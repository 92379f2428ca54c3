"""Turns in PostgreSQL: who may speak in a session, and what was said, for who asks again.

One turn of a session runs at a time, in the order of arrival, whichever process they came to. The
process that has it says again and again that it is alive; once it is silent for longer than its
lease, the next turn passes it, and what it had said by then is kept as a partial turn. What enters
a session does so in the transaction that ends the turn (`Sessions.add_turn`), and only while the
turn still holds it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import asyncpg
import msgspec

from config.masking import MaskingSettings
from config.postgres import Connection, load_queries, tenant_transaction
from config.scope import TenantScope
from config.settings import SessionSettings
from gateway.errors import KeyReused, NotFound, Overloaded
from gateway.govern.masking.masking import Masking
from gateway.openai.chat import Usage
from gateway.sessions.parts import Part, decode_parts, text_of
from gateway.sessions.store import (
    Owner,
    Turn,
    lock,
    lock_session,
    lost,
    owner_of,
    storable,
    write_turn,
)

_SQL = load_queries("gateway.sessions", "turns.sql")
_LIVE = ("waiting", "running")


@dataclass(frozen=True, slots=True)
class Keeping:
    """How a turn is kept for who asks again.

    Attributes:
        request: SHA-256 of what was asked; whoever comes back must ask the same.
        key: SHA-256 of the Idempotency-Key, or None.
        shape: As JSON, how it is told: the routes' own.
    """

    request: bytes
    key: bytes | None
    shape: bytes


@dataclass(frozen=True, slots=True)
class NewTurn:
    """A turn that arrives; without a session it waits for nobody. The agent asks model `asks`."""

    message_id: str
    session_id: str | None
    agent: str
    question: str
    keeping: Keeping | None = None
    asks: str = ""


@dataclass(frozen=True, slots=True)
class Begun:
    """What came of a turn that arrived: `message_id` is of the one that had its key before."""

    message_id: str
    running: bool
    ours: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """How a turn stands that a process has under way.

    Attributes:
        live: It waits or runs; else its end is stored already.
        lost: It is not the process's any more: deleted, or taken for dead.
        away_s: For how many seconds nobody in another process has waited for it.
    """

    live: bool
    lost: bool
    away_s: float


@dataclass(frozen=True, slots=True)
class KeptTurn:
    """A turn as it stands. What follows `created_at` (seconds since 1970) is JSON of the owners'.

    `dead` tells that its process has not been heard of for too long.
    """

    message_id: str
    session_id: str | None
    state: str
    agent: str
    created_at: int
    request: bytes
    shape: bytes
    answer: bytes | None
    error: bytes | None
    dead: bool
    parts: list[Part]

    @property
    def ended(self) -> bool:
        """Tell whether it changes no more."""
        return self.state not in _LIVE


class TurnStore:
    """The repository of one process; `kept` is how long a session stays after its last turn."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        settings: SessionSettings,
        kept: timedelta | None,
        masking: Masking | None = None,
    ) -> None:
        self._masking = masking or Masking(MaskingSettings())
        self._pool = pool
        self._most_waiting = settings.max_waiting
        self._lease = timedelta(seconds=settings.lease_s)
        self._replayed = timedelta(seconds=settings.replay_s)
        self._kept = kept

    async def begin(self, scope: TenantScope, turn: NewTurn) -> Begun:
        """Let a turn arrive: it runs at once, or waits for those before it.

        Raises:
            KeyReused: Its key stands for another request.
            Overloaded: Too many wait for the session already.
        """
        keeping, question = turn.keeping, ""
        if keeping:
            # Asked by nobody again, it is stored with its answer or not at all.
            policy = self._masking.policies.at(
                "storage", tenant=scope.tenant, model=turn.asks, agent=turn.agent
            )
            question = await self._masking.mask(turn.question, policy)
        async with tenant_transaction(self._pool, scope.tenant) as con:
            if keeping and keeping.key:
                await lock(con, "key", *owner_of(scope), keeping.key.hex())
                if found := await _by_key(con, scope, keeping):
                    return Begun(found, running=False, ours=False)
            if turn.session_id is not None:
                await self._enter(con, (*owner_of(scope), turn.session_id))
            state = await con.fetchval(
                _SQL["begin"],
                *(*owner_of(scope), turn.session_id, turn.message_id, keeping is not None),
                *(keeping and keeping.key, keeping and keeping.request, turn.agent),
                *(question, keeping and keeping.shape.decode()),
                self._lease,
            )
        return Begun(turn.message_id, running=state == "running", ours=True)

    async def _enter(self, con: Connection, owner: Owner) -> None:
        await lock_session(con, owner)
        await self._settle(con, owner)
        await con.execute(_SQL["forget_expired"], *owner)
        if await con.fetchval(_SQL["count_waiting"], *owner) >= self._most_waiting:
            raise Overloaded(
                "too many messages wait in this session already: send it again later",
                code="session_queue_full",
                headers={"retry-after": "2"},
            )

    async def claim(self, scope: TenantScope, session_id: str, message_id: str) -> bool:
        """Tell whether it is the turn's turn now; until then this says that it still waits.

        Raises:
            Conflict: It is gone: the session was deleted.
        """
        async with tenant_transaction(self._pool, scope.tenant) as con:
            owner = (*owner_of(scope), session_id)
            await lock_session(con, owner)
            await self._settle(con, owner)
            state = await con.fetchval(_SQL["claim"], message_id, self._lease)
        if state is None:
            raise lost()
        return bool(state == "running")

    async def tell(
        self, scope: TenantScope, message_id: str, first: int, parts: Sequence[Part]
    ) -> Standing:
        """Say that the turn's process lives; while it runs, keep its parts from number `first` on.

        To keep parts a second time, where the first is in doubt, changes nothing.
        """
        async with tenant_transaction(self._pool, scope.tenant) as con:
            row = await con.fetchrow(_SQL["renew"], message_id, self._lease)
            live = row is not None and row["state"] in _LIVE
            if live and parts:
                told = msgspec.json.encode(parts).decode()
                await con.execute(_SQL["add_parts"], message_id, first, told)
                await con.execute(_SQL["keep_parts"], message_id, self._kept)
        lost = row is None or row["state"] == "lapsed"
        return Standing(live=live, lost=lost, away_s=row["away_s"] if row else 0.0)

    async def finish(self, scope: TenantScope, message_id: str, answer: bytes) -> None:
        """Keep the answer of a turn that belongs to no session."""
        async with tenant_transaction(self._pool, scope.tenant) as con:
            await con.execute(_SQL["finish"], message_id, answer.decode(), self._replayed)

    async def break_off(
        self, scope: TenantScope, message_id: str, error: bytes, *, lapsed: bool
    ) -> None:
        """Tell why a turn ended before its end; a lapsed one gives way to a retry.

        So does one that stored nothing; whoever waits for that one now is told the error.
        """
        state = "lapsed" if lapsed else "partial"
        async with tenant_transaction(self._pool, scope.tenant) as con:
            await con.execute(_SQL["break_off"], message_id, error.decode(), state)

    async def leave(self, scope: TenantScope, message_id: str) -> None:
        """Forget a turn that waits or runs: the next one may."""
        async with tenant_transaction(self._pool, scope.tenant) as con:
            await con.execute(_SQL["forget_live"], message_id)

    async def read(self, scope: TenantScope, message_id: str, *, follow: bool = False) -> KeptTurn:
        """Return a turn as it stands; `follow` says that somebody waits for it.

        Raises:
            NotFound: Unknown, another's, kept for nobody, or over its time.
        """
        async with tenant_transaction(self._pool, scope.tenant) as con:
            row = await con.fetchrow(_SQL["find"], *owner_of(scope), message_id)
            if row is None:
                raise missing()
            rows = await con.fetch(_SQL["parts"], message_id)
            if follow:
                await con.execute(_SQL["follow"], message_id)
        parts = [part for each in rows for part in decode_parts(each["parts"])]
        values = {**row, "shape": row["shape"].encode()}
        for name in ("answer", "error"):
            values[name] = row[name] and row[name].encode()
        return KeptTurn(**values, parts=parts)

    async def settle(self, scope: TenantScope, session_id: str) -> None:
        """Let the dead turn of a session go; what it had said by then becomes a partial turn."""
        async with tenant_transaction(self._pool, scope.tenant) as con:
            await self._settle(con, (*owner_of(scope), session_id))

    async def bury(self, scope: TenantScope, turn: KeptTurn) -> None:
        """Let a turn go whose process is dead."""
        if turn.session_id is not None and turn.state == "running":
            await self.settle(scope, turn.session_id)
            return
        async with tenant_transaction(self._pool, scope.tenant) as con:
            await con.execute(_SQL["forget_dead"], turn.message_id)

    async def _settle(self, con: Connection, owner: Owner) -> None:
        for row in await con.fetch(_SQL["dead_of_session"], *owner):
            message_id = row["message"]
            rows = await con.fetch(_SQL["parts"], message_id)
            text = text_of([part for each in rows for part in decode_parts(each["parts"])])
            if not text:
                await con.execute(_SQL["forget"], message_id)
                continue
            turn = Turn(
                message_id,
                row["agent"],
                row["question"],
                text,
                model=row["model"],
                references=[],
                usage=Usage(0, 0, 0),
                complete=False,
            )
            turn = await storable(turn, owner[0], self._masking)
            asked = await write_turn(con, owner, turn, self._kept)
            await con.execute(_SQL["lapse"], message_id, asked, self._replayed)


async def _by_key(con: Connection, scope: TenantScope, keeping: Keeping) -> str | None:
    """Return the turn that the key stands for; one that came to nothing makes way."""
    row = await con.fetchrow(_SQL["find_key"], *owner_of(scope), keeping.key)
    if row is None:
        return None
    if row["over"]:
        await con.execute(_SQL["forget_messages"], row["message"])
        await con.execute(_SQL["forget"], row["message"])
        return None
    if row["request"] != keeping.request:
        raise KeyReused(
            "Idempotency-Key: it was sent with another request: take a new one",
            param="idempotency-key",
            code="idempotency_key_reused",
        )
    message: str = row["message"]
    return message


def missing() -> NotFound:
    """Return the error for a turn that the caller does not have."""
    return NotFound(
        "no such answer of yours that is kept for who comes back", code="stream_not_found"
    )
