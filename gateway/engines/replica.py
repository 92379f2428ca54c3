"""One child of an engine: what its log tells of its start, and when it is up."""

import asyncio
import re
from dataclasses import dataclass, field
from pathlib import Path

from gateway.children import Child, say
from gateway.engines.probe import is_up, warm_up

_POLL_S = 0.2
_STILL_S = 30.0
_STARTS_TO_WAIT_FOR = 3
_STEPS = {
    "Starting to load model": "loading weights",  # on the CPU
    "Loading model from scratch": "loading weights",
    "Warming up model": "compiling",
    "Dynamo bytecode transform time": "compiling",
    "Capturing CUDA graphs": "capturing CUDA graphs",
}
_TOOK = re.compile(r"Loading weights took ([\d.]+) seconds")
_CAUSE = re.compile(r"\b((?:[A-Z]\w*)?(?:Error|Exception): .+)")
_CONSEQUENCE = "Engine core initialization failed"


@dataclass(slots=True)
class Replica:
    """A child that serves an engine's model on a socket.

    Attributes:
        settled: Set once it was up, or has failed so often that nobody should wait for it.
    """

    engine: str
    child: Child
    socket: Path
    log: Path
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    _came_up: int = 0

    @property
    def up(self) -> bool:
        """Whether its last start came to its end, and it still runs."""
        return self.child.running and self._came_up == self.child.starts

    async def watch(self) -> None:
        """Follow every start and tell of it on the terminal; runs until cancelled."""
        begun, read_to = 0, self._log_size()
        while True:
            while self.child.starts == begun:  # noqa: ASYNC110 - nothing announces it
                await asyncio.sleep(_POLL_S)
            begun = self.child.starts
            read_to = await self._follow_start(begun, read_to)
            if self._came_up == begun or begun >= _STARTS_TO_WAIT_FOR:
                self.settled.set()

    async def _follow_start(self, begun: int, read_to: int) -> int:
        """Return where the log was read to when the child is up, or when it has ended."""
        loop = asyncio.get_running_loop()
        started = told = loop.time()
        title, tail = self.child.command.name, _LogTail(self.log, read_to)
        while self.child.starts == begun:
            up = await is_up(self.socket)
            for step in tail.steps():
                say(f"  {title}: {step}")
                told = loop.time()
            if up:
                await warm_up(self.socket, self.engine)
                self._came_up = begun
                say(f"  {title}: ready in {loop.time() - started:.0f} s")
                return tail.position
            if loop.time() - told > _STILL_S:
                told = loop.time()
                say(f"  {title}: still starting after {told - started:.0f} s (see {self.log})")
            await asyncio.sleep(_POLL_S)
        tail.steps()
        if tail.cause:
            say(f"naru: {title}: {tail.cause}")
        return tail.position

    def _log_size(self) -> int:
        return self.log.stat().st_size if self.log.exists() else 0


@dataclass(slots=True)
class _LogTail:
    """What a log has said since the last look."""

    log: Path
    position: int
    cause: str | None = None
    _told: set[str] = field(default_factory=set)

    def steps(self) -> list[str]:
        """Return the steps of the start that are new."""
        steps = []
        for line in self._new_lines():
            if took := _TOOK.search(line):
                steps.append(f"weights loaded in {float(took[1]):.0f} s")
            steps += [step for mark, step in _STEPS.items() if mark in line]
            found = _CAUSE.search(line)
            if found and not self.cause and _CONSEQUENCE not in line:
                self.cause = found[1][:300]
        fresh = [step for step in dict.fromkeys(steps) if step not in self._told]
        self._told.update(fresh)
        return fresh

    def _new_lines(self) -> list[str]:
        """Return the whole lines that were added; a log that was set aside begins anew."""
        if not self.log.exists():
            return []
        if self.log.stat().st_size < self.position:
            self.position = 0
        with self.log.open("rb") as file:
            file.seek(self.position)
            text = file.read(1_000_000)
        whole = text[: text.rfind(b"\n") + 1]
        self.position += len(whole)
        return whole.decode("utf-8", "replace").splitlines()
