"""Child processes of the supervisor: started on tethers, restarted with back-off, stopped."""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import typer

from config.embedded import Command, tether_argv

_FIRST_DELAY_S = 1.0
_LONGEST_DELAY_S = 30.0
_STABLE_S = 60.0
_LOG_LIMIT_BYTES = 10_000_000


def say(line: str) -> None:
    """Tell the operator something on standard error; a closed terminal is no reason to stop."""
    with contextlib.suppress(OSError):
        typer.echo(line, err=True)


@dataclass(slots=True)
class Child:
    """One child process that is kept running until it is stopped.

    Attributes:
        command: What to run.
        environ: Its whole environment.
        pass_fds: Descriptors it inherits.
        log: File its output is appended to; None lets it write to ours.
        sign: What it makes when it is up, such as its socket; one that is left is removed first.
    """

    command: Command
    environ: Mapping[str, str]
    pass_fds: Sequence[int] = ()
    log: Path | None = None
    sign: Path | None = None
    starts: int = 0
    _retired: bool = False
    _process: asyncio.subprocess.Process | None = None
    _keeper: asyncio.Task[None] | None = field(default=None, repr=False)

    @property
    def running(self) -> bool:
        """Whether a process exists at this moment."""
        return self._process is not None and self._process.returncode is None

    def start(self) -> None:
        """Begin to keep it running."""
        self._keeper = asyncio.create_task(self._keep_running(), name=self.command.name)

    async def stop(self) -> None:
        """End it in good order; return when it is gone."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])

    def leave_to_others(self) -> None:
        """Tell a web worker that it is to take no connection any more."""
        if self._process is not None and self.running:
            self._process.send_signal(signal.SIGUSR1)

    async def retire(self) -> None:
        """Let a web worker answer what is open and end; return when it is gone."""
        self._retired = True
        if self._keeper is None or not self.running:
            await self.stop()
        else:
            self.leave_to_others()
            await asyncio.wait([self._keeper])

    def hurry(self) -> None:
        """Cut short the grace time of a child that is being stopped."""
        stopping = self._keeper is not None and self._keeper.cancelling()
        if self._process is not None and self.running and stopping:
            self._process.terminate()

    async def _keep_running(self) -> None:
        loop = asyncio.get_running_loop()
        delay = _FIRST_DELAY_S
        while True:
            started = loop.time()
            status = await self._run_once()
            if self._retired:
                return
            if loop.time() - started > _STABLE_S:
                delay = _FIRST_DELAY_S
            where = f" (see {self.log})" if self.log else ""
            name = self.command.name
            say(f"naru: {name} ended with status {status}{where}; restarting in {delay:g} s")
            await asyncio.sleep(delay)
            delay = min(2 * delay, _LONGEST_DELAY_S)

    async def _run_once(self) -> int:
        """Start the process and wait for its end; end it when this is cancelled."""
        self._process = process = await self._spawn()
        self.starts += 1
        try:
            return await process.wait()
        finally:
            if process.stdin is not None:
                process.stdin.close()
            await process.wait()

    async def _spawn(self) -> asyncio.subprocess.Process:
        if self.sign is not None:
            self.sign.unlink(missing_ok=True)
        log = open_log(self.log) if self.log else None
        try:
            return await asyncio.create_subprocess_exec(
                *tether_argv(self.command, pass_fds=self.pass_fds),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=self.environ,
                pass_fds=self.pass_fds,
                start_new_session=True,
            )
        finally:
            if log is not None:
                os.close(log)


async def stop_all(children: Iterable[Child]) -> None:
    """Stop several children at the same time."""
    await asyncio.gather(*(child.stop() for child in children))


def open_log(path: Path) -> int:
    """Open a log file for appending; a long one is set aside as `….1` first."""
    path.parent.mkdir(exist_ok=True)
    if path.exists() and path.stat().st_size > _LOG_LIMIT_BYTES:
        path.replace(path.with_suffix(path.suffix + ".1"))
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
