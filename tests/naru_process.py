"""A real `naru serve` with a port and a data folder of its own, and everything it starts."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import psutil
from support import free_port


def wait_until_gone(processes: Sequence[psutil.Process], limit_s: float = 60) -> None:
    """Return when none of them runs any more; nobody may have asked for its status yet."""
    deadline = time.monotonic() + limit_s
    while left := [process for process in processes if _runs(process)]:
        assert time.monotonic() < deadline, [process.cmdline() for process in left]
        time.sleep(0.05)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def run_naru(
    folder: Path, environ: Mapping[str, str], *arguments: str
) -> "subprocess.CompletedProcess[str]":
    """Run a `naru` command with these variables beside those that are nobody's settings."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "gateway", *arguments],
        cwd=folder,
        env={**inherited(), **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def inherited() -> dict[str, str]:
    """What a `naru` of a test gets of our environment."""
    foreign = ("NARU", "OPENAI_", "MODEL")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)}


class NaruProcess:
    """Started at once; use it as a context manager to be sure that it ends.

    Attributes:
        url: Where it serves once it is ready.
        process: The supervisor, or whatever `wrapper` runs it.
    """

    def __init__(
        self,
        data_dir: Path,
        *arguments: str,
        environ: dict[str, str] | None = None,
        wrapper: Sequence[str] = (),
    ) -> None:
        self.data_dir = data_dir
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = data_dir.with_name(data_dir.name + f".{self.port}.log")
        self.environ = {
            **inherited(),
            "NARU__DATA_DIR": str(data_dir),
            "PORT": str(self.port),
            "NARU__SERVER__DRAIN_DELAY_S": "0",
        }
        argv = [sys.executable, "-P", "-m", "gateway", "serve", *arguments]
        with self.log.open("wb") as log:
            self.process = psutil.Popen(
                [*wrapper, *argv],
                cwd=data_dir.parent,
                env={**self.environ, **(environ or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is not None:
            return
        started = self.family()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        wait_until_gone(started)

    def kill(self) -> None:
        """SIGKILL, which nothing can be done about."""
        self.process.kill()
        self.process.wait(30)

    @property
    def output(self) -> str:
        return self.log.read_text()

    def family(self) -> list[psutil.Process]:
        """The process and everything below it."""
        return [self.process, *self.process.children(recursive=True)]

    def children(self, word: str) -> list[psutil.Process]:
        """The supervised processes whose command has `word`."""
        found = []
        for tether in self.process.children():
            # It may end, or not be what it is to be yet, while it is looked at.
            with contextlib.suppress(psutil.NoSuchProcess):  # ZombieProcess with it
                if word in str(tether.cmdline()[-1:]):
                    found += tether.children()
        return found

    def get(self, path: str) -> tuple[int, Any]:
        """Status and JSON; status 0 when nothing answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        except (OSError, http.client.HTTPException):
            return 0, None
        finally:
            connection.close()

    def wait_until_ready(self, limit_s: float = 120) -> None:
        """Return when it says on the terminal that it is ready."""
        deadline = time.monotonic() + limit_s
        while "Naru is ready at" not in self.output:
            assert self.process.poll() is None, self.output
            assert time.monotonic() < deadline, self.output
            time.sleep(0.05)

    def wait_for_output(self, text: str) -> None:
        """Return when it has said `text`."""
        deadline = time.monotonic() + 60
        while text not in self.output:
            assert time.monotonic() < deadline, self.output
            time.sleep(0.05)

    def wait_for_answer(self, path: str, status: int, body: Any = None) -> None:
        """Return when `path` is answered as expected."""
        deadline = time.monotonic() + 60
        while (answer := self.get(path)) != (status, body or answer[1]):
            assert time.monotonic() < deadline, (answer, self.output)
            time.sleep(0.05)

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run another `naru` command against it."""
        return run_naru(self.data_dir.parent, self.environ, *arguments)
