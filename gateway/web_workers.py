"""The web workers of one run.

All accept from the same listening sockets: one set takes over from another, and no connection is
refused.
"""

import asyncio
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

from config.embedded import python_command
from config.errors import ConfigError
from config.settings import ServerSettings
from config.tasks import end_task
from gateway.children import Child, stop_all
from gateway.observe.process import named

_DRAIN_MARGIN_S = 15.0
_UP_S = 120.0
_POLL_S = 0.1


class WebWorkers:
    """Those that serve, and those that only answer what is open.

    Attributes:
        children: All of them.
    """

    def __init__(self, listeners: Sequence[socket.socket], lock: int, runtime: Path) -> None:
        self.children: list[Child] = []
        self._listeners = tuple(listeners)
        self._descriptors = (*(each.fileno() for each in listeners), lock)
        self._runtime = runtime
        self._serving: list[Child] = []
        self._leaving: set[asyncio.Task[None]] = set()
        self._sets = 0

    def start(self, settings: ServerSettings, environ: Mapping[str, str]) -> None:
        """Start the first set."""
        self._serving = self._begin(settings, environ)

    async def replace(self, settings: ServerSettings, environ: Mapping[str, str]) -> None:
        """Let a new set take over; what the old one has open, it answers.

        Raises:
            ConfigError: A new one does not come up; the old ones go on.
        """
        fresh = self._begin(settings, environ)
        try:
            await asyncio.gather(*map(_wait_until_up, fresh))
        except ConfigError:
            self._see_off(fresh)
            raise
        self._see_off(self._serving)
        self._serving = fresh

    def take_no_more(self) -> None:
        """Refuse connections from now on."""
        for child in self.children:
            child.leave_to_others()

    async def close(self) -> None:
        """Stop all of them."""
        for task in list(self._leaving):
            await end_task(task)
        # When no worker accepts any more, connections are refused, not left waiting.
        for listener in self._listeners:
            listener.close()
        await stop_all(self.children)

    def _begin(self, settings: ServerSettings, environ: Mapping[str, str]) -> list[Child]:
        self._sets += 1
        numbers = range(1, settings.workers + 1)
        begun = [self._child(number, settings, environ) for number in numbers]
        self.children += begun
        for child in begun:
            child.start()
        return begun

    def _child(self, number: int, settings: ServerSettings, environ: Mapping[str, str]) -> Child:
        sign = self._runtime / f"web-{number}.{self._sets}.up"
        arguments = (*(f"--fd={each.fileno()}" for each in self._listeners), f"--sign={sign}")
        grace_s = settings.drain_delay_s + settings.grace_s + _DRAIN_MARGIN_S
        command = python_command(f"web-{number}", "gateway.web_worker", *arguments, grace_s=grace_s)
        return Child(command, named(environ, command.name), self._descriptors, sign=sign)

    def _see_off(self, children: Sequence[Child]) -> None:
        task = asyncio.create_task(self._retire(children))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _retire(self, children: Sequence[Child]) -> None:
        await asyncio.gather(*(child.retire() for child in children))
        for child in children:
            self.children.remove(child)


async def _wait_until_up(child: Child) -> None:
    deadline = asyncio.get_running_loop().time() + _UP_S
    while not (child.sign and child.sign.exists()):
        ended = child.starts and not child.running
        if ended or asyncio.get_running_loop().time() > deadline:
            name = child.command.name
            raise ConfigError(f"{name} does not start with them: the service's log says why")
        await asyncio.sleep(_POLL_S)
