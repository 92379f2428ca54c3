"""How a web worker ends: what SIGTERM and SIGUSR1 do to what is open."""

import asyncio
import contextlib
import math
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn
from litestar import Litestar

from config.settings import ServerSettings
from gateway.http import CLOSE

_POLL_S = 0.05
_LAST_MOMENT_S = 5.0
_RESTED_S = 6.0


class Server(uvicorn.Server):
    """Serves until a signal, then answers what is open.

    SIGTERM: not ready at once; connections are taken for `drain_delay_s`, so that balancers can
    notice; then what is open has `grace_s`, and what outlasts it is told `server_shutdown`. Once
    more, and all of that is over now.

    `sign` is a file to make when connections are taken.

    SIGUSR1: others listen on the same socket from here on. No connection is taken or cut, what is
    open has `reload_grace_s`.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        app: Litestar,
        settings: ServerSettings,
        sign: Path | None = None,
    ) -> None:
        super().__init__(config)
        self._sign = sign
        self._app = app
        self._settings = settings
        self._stopping = False
        self._accept_until = self._linger_until = self._end_at = math.inf

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take the signals until the process ends; its status is 0, as it ended in order."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGUSR1, self._retire)
        yield

    def _stop(self) -> None:
        now = time.monotonic()
        delay_s, grace_s = self._settings.drain_delay_s, self._settings.grace_s
        if self._stopping:
            delay_s = grace_s = 0.0
        self._stopping = True
        self._accept_until = min(self._accept_until, now + delay_s)
        self._linger_until = now
        self._end_at = min(self._end_at, max(self._accept_until, now) + grace_s)
        self._drain()

    def _retire(self) -> None:
        now = time.monotonic()
        self._accept_until = now
        # Who asks meanwhile is told to close; who has not for so long hardly asks at the very
        # moment in which the connection is closed.
        self._linger_until = min(self._linger_until, now + _RESTED_S)
        self._end_at = min(self._end_at, now + self._settings.reload_grace_s)
        self._drain()

    def _drain(self) -> None:
        if self.should_exit:
            return
        self.should_exit = True
        # Of the answers under way too: they share the first list; the second one replaces it.
        for headers in (self.server_state.default_headers, self.config.encoded_headers):
            headers.append(CLOSE)
        self._app.state.draining = True
        if services := self._app.state.get("services"):
            services.responses.background.drain()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the application and begin to take connections."""
        await super().startup(sockets)
        if self._sign:
            self._sign.touch()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take leave of everybody, in order."""
        await _until(lambda: time.monotonic() >= self._accept_until)
        for listening in (*self.servers, *(sockets or ())):
            listening.close()
        await _until(
            lambda: not self.server_state.connections or time.monotonic() >= self._linger_until
        )
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await _until(lambda: not self._busy or time.monotonic() >= self._end_at)
        await self._cut()
        await self.lifespan.shutdown()

    @property
    def _busy(self) -> bool:
        services = self._app.state.get("services")
        beside = services and (services.responses.background.busy or services.turns.busy)
        return bool(self.server_state.connections or self.server_state.tasks or beside)

    async def _cut(self) -> None:
        """End what goes on; each tells its caller and settles."""
        if tasks := list(self.server_state.tasks):
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=_LAST_MOMENT_S)


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - signals move the times
        await asyncio.sleep(_POLL_S)
