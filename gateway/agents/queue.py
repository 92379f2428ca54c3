"""One turn of a session at a time, in the order of arrival, over every process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from weakref import WeakValueDictionary

from config.postgres import UNREACHABLE
from config.scope import TenantScope
from config.settings import SessionSettings
from config.tasks import end_task
from gateway.errors import Overloaded
from gateway.sessions.store import owner_of
from gateway.sessions.turns import NewTurn, TurnStore

_POLL_S = 0.2
_LONGEST_S = 3600.0
"""A turn that nobody has closed lets its session go then."""


@dataclass(slots=True, weakref_slot=True)
class _Session:
    """A session that somebody in this process waits for."""

    freed: asyncio.Event


class SessionQueue:
    """This process's turns that wait for their sessions."""

    def __init__(self, store: TurnStore, settings: SessionSettings) -> None:
        self._store = store
        self._settings = settings
        self._awaited: WeakValueDictionary[tuple[str, ...], _Session] = WeakValueDictionary()

    @asynccontextmanager
    async def held(self, scope: TenantScope, turn: NewTurn) -> AsyncIterator[None]:
        """Hold the turn's session, once everybody who came before has ended.

        Raises:
            Overloaded: Too many wait for it, or it took too long.
            Conflict: The session was deleted meanwhile.
        """
        if turn.session_id is None:
            yield
            return
        try:
            begun = await self._store.begin(scope, turn)
            if not begun.running:
                await self.wait(scope, turn.session_id, turn.message_id)
            alive = asyncio.create_task(self._stay_alive(scope, turn.message_id))
            try:
                yield
            finally:
                await end_task(alive)
        finally:
            # Shielded: others wait for it.
            await asyncio.shield(self._leave(scope, turn.session_id, turn.message_id))

    async def wait(self, scope: TenantScope, session_id: str, message_id: str) -> None:
        """Return when a turn that has arrived runs.

        Raises:
            Overloaded: It took too long.
            Conflict: The session was deleted meanwhile.
        """
        name = (*owner_of(scope), session_id)
        session = self._awaited.setdefault(name, _Session(asyncio.Event()))
        try:
            async with asyncio.timeout(self._settings.queue_timeout_s):
                while not await self._store.claim(scope, session_id, message_id):
                    with suppress(TimeoutError):
                        async with asyncio.timeout(_POLL_S):
                            await session.freed.wait()
                    session.freed.clear()
        except TimeoutError:
            raise Overloaded(
                "the messages before it in this session take too long: send it again later",
                code="session_busy",
                headers={"retry-after": "5"},
            ) from None

    def free(self, scope: TenantScope, session_id: str | None) -> None:
        """Tell those who wait in this process that a turn has ended."""
        if session_id is not None:
            session = self._awaited.get((*owner_of(scope), session_id))
            if session is not None:
                session.freed.set()

    async def _stay_alive(self, scope: TenantScope, message_id: str) -> None:
        """Say that this process lives; return when the turn is not its any more."""
        pause_s = self._settings.lease_s / 4
        for _ in range(int(_LONGEST_S / pause_s)):
            await asyncio.sleep(pause_s)
            with suppress(*UNREACHABLE):
                if not (await self._store.tell(scope, message_id, 0, [])).live:
                    return

    async def _leave(self, scope: TenantScope, session_id: str, message_id: str) -> None:
        with suppress(*UNREACHABLE):  # then the lease runs out
            await self._store.leave(scope, message_id)
        self.free(scope, session_id)
