"""A turn that goes on without its caller, and what it has told so far.

What it tells is stored first and told then, some at a time: so whoever comes back, to this process
or another one, is told exactly the rest.
"""

import asyncio
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import msgspec

from config.postgres import UNREACHABLE
from config.scope import TenantScope
from config.settings import SessionSettings
from gateway.errors import SHUTDOWN, GatewayError, Unavailable, describe
from gateway.govern.charge import SERVER_SHUTDOWN, current_exchange
from gateway.sessions.parts import Part
from gateway.sessions.store import lost
from gateway.sessions.turns import TurnStore

_FLUSH_S = 0.05
_LOOK_S = 1.0
_ABANDONED = Unavailable(
    "nobody came back to this answer in time; what was said by then is kept",
    code="stream_abandoned",
)


class KeptRun:
    """A kept turn under way in this process.

    Attributes:
        told: What is stored of it, and may be told.
        ended: Nothing more is told here; how it ended is stored.
    """

    def __init__(
        self, store: TurnStore, scope: TenantScope, message_id: str, settings: SessionSettings
    ) -> None:
        self.told: list[Part] = []
        self.ended = False
        self._store = store
        self._scope = scope
        self._message_id = message_id
        self._grace_s = settings.resume_grace_s
        self._look_s = min(_LOOK_S, settings.lease_s / 4)
        self._untold: list[Part] = []
        self._more = asyncio.Event()
        self._changed = asyncio.Event()
        self._followers = 0
        self._left = time.monotonic()
        self._over = False
        self._working: asyncio.Task[None] | None = None
        self._reason: GatewayError = lost()
        self._exchange = current_exchange()

    async def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Do the work, which calls `open` and `say`; store how it ended."""
        self._working = working = asyncio.create_task(work)
        telling = asyncio.create_task(self._tell())
        await asyncio.wait([working])
        self._over = True
        self._more.set()
        # Not cancelled: what it stores at this moment is stored, or is not.
        await asyncio.wait([telling])
        error = self._reason if working.cancelled() else working.exception()
        if isinstance(error, Exception):
            await self._break_off(error)

    def end(self) -> None:
        """Send everybody who waits in this process to what is stored."""
        self.ended = True
        self._notify()

    def stop(self) -> None:
        """End the work because the server ends."""
        self._exchange.left = SERVER_SHUTDOWN
        self._stop(SHUTDOWN)

    async def open(self, part: Part) -> None:
        """Tell the first part: from then on somebody can come back."""
        standing = await self._store.tell(self._scope, self._message_id, 0, [part])
        if not standing.live:
            raise lost()
        self.told.append(part)
        self._notify()

    def say(self, part: Part) -> None:
        """Tell a part, as soon as it is stored."""
        self._untold.append(part)
        self._more.set()

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Count somebody who waits in this process."""
        self._followers += 1
        try:
            yield
        finally:
            self._followers -= 1
            self._left = time.monotonic()
            self._more.set()

    async def more_than(self, count: int) -> None:
        """Return when more parts are told than that, or it has ended."""
        if len(self.told) <= count and not self.ended:
            await self._changed.wait()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _stop(self, reason: GatewayError) -> None:
        if self._working and not self._working.done():
            self._reason = reason
            self._working.cancel()

    async def _tell(self) -> None:
        """Store what is said, and that this process lives, until the work is over."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._look_s):
                    await self._more.wait()
            self._more.clear()
            if self._over:
                # What is still untold, the stored answer tells.
                return
            with suppress(*UNREACHABLE):
                await self._tell_now()
            await asyncio.sleep(_FLUSH_S)

    async def _tell_now(self) -> None:
        parts = self._untold[:]
        standing = await self._store.tell(self._scope, self._message_id, len(self.told), parts)
        if standing.lost:
            self._stop(lost())
        if parts and standing.live:
            del self._untold[: len(parts)]
            self.told += parts
            self._notify()
        away_s = min(standing.away_s, time.monotonic() - self._left)
        if not self._followers and away_s >= self._grace_s:
            self._stop(_ABANDONED)

    async def _break_off(self, error: Exception) -> None:
        told = msgspec.json.encode(describe(error))
        with suppress(*UNREACHABLE):  # then the lease runs out
            await self._store.break_off(
                self._scope, self._message_id, told, lapsed=error is SHUTDOWN
            )
