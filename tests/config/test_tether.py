"""Commands on tethers: whatever happens to the holder, they end."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import IO

import pytest

from config.embedded import Command, tether_argv

# Handlers write by `os.write`: `print` fails where it interrupts another one, which has been read
# before it returns.
_OBEDIENT = """
import os, signal
signal.signal(signal.SIGUSR1, lambda *_: (os.write(1, b"stopped\\n"), os._exit(3)))
print("ready", flush=True)
while True: signal.pause()
"""
_STUBBORN = """
import os, signal
signal.signal(signal.SIGTERM, lambda *_: os.write(1, b"no\\n"))
print("ready", flush=True)
while True: signal.pause()
"""


class Tethered:
    """A command on a tether, and a pipe that closes when the last of its processes is gone."""

    def __init__(self, code: str, *, grace_s: float, stop_signal: int = signal.SIGTERM) -> None:
        self._alive, inherited = os.pipe()
        command = Command("test", [sys.executable, "-c", code], stop_signal, grace_s)
        self.tether = subprocess.Popen(
            tether_argv(command, pass_fds=[inherited]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=[inherited],
            start_new_session=True,
        )
        os.close(inherited)
        assert self.read_line() == "ready"

    @property
    def stdin(self) -> IO[str]:
        assert self.tether.stdin is not None
        return self.tether.stdin

    def read_line(self) -> str:
        assert self.tether.stdout is not None
        return self.tether.stdout.readline().strip()

    def wait_until_gone(self) -> None:
        assert os.read(self._alive, 1) == b""

    def close(self) -> None:
        self.stdin.close()
        self.tether.wait(30)
        assert self.tether.stdout is not None
        self.tether.stdout.close()
        os.close(self._alive)


@pytest.fixture
def obedient() -> Iterator[Tethered]:
    tethered = Tethered(_OBEDIENT, grace_s=30, stop_signal=signal.SIGUSR1)
    yield tethered
    tethered.close()


def test_closing_standard_input_sends_the_stop_signal(obedient: Tethered) -> None:
    obedient.stdin.close()
    assert obedient.read_line() == "stopped"
    obedient.wait_until_gone()
    assert obedient.tether.wait(10) == 3


def test_sigterm_does_the_same(obedient: Tethered) -> None:
    obedient.tether.terminate()
    assert obedient.read_line() == "stopped"
    assert obedient.tether.wait(10) == 3


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG")
def test_a_killed_tether_takes_its_command_along(obedient: Tethered) -> None:
    obedient.tether.kill()
    assert obedient.read_line() == "stopped"
    obedient.wait_until_gone()


def test_a_command_that_does_not_obey_is_killed_after_the_grace_time() -> None:
    tethered = Tethered(_STUBBORN, grace_s=0.3)
    tethered.stdin.close()
    assert tethered.read_line() == "no"
    tethered.wait_until_gone()
    assert tethered.tether.wait(10) == 128 + signal.SIGKILL
    tethered.close()


def test_sigterm_cuts_the_grace_time_short() -> None:
    tethered = Tethered(_STUBBORN, grace_s=600)
    tethered.stdin.close()
    assert tethered.read_line() == "no"
    tethered.tether.terminate()
    assert tethered.read_line() == "no"
    tethered.tether.terminate()
    tethered.wait_until_gone()
    assert tethered.tether.wait(10) == 128 + signal.SIGKILL
    tethered.close()


def test_sigusr1_is_handed_on() -> None:
    tethered = Tethered(_OBEDIENT, grace_s=30)
    tethered.tether.send_signal(signal.SIGUSR1)
    assert tethered.read_line() == "stopped"
    assert tethered.tether.wait(10) == 3
    tethered.close()


def test_the_exit_status_is_the_commands() -> None:
    argv = tether_argv(Command("test", [sys.executable, "-c", "raise SystemExit(7)"]))
    with subprocess.Popen(argv, stdin=subprocess.PIPE) as tether:
        assert tether.wait(30) == 7


def test_what_the_command_leaves_has_a_moment_to_clean_up_and_no_more() -> None:
    """As Python's resource tracker, which removes shared memory when its users are gone."""
    code = """
import subprocess, sys
leave = "import time; time.sleep(0.3); print('cleaned up', flush=True); time.sleep(600)"
subprocess.Popen([sys.executable, "-c", leave], close_fds=False)
print("ready", flush=True)
"""
    tethered = Tethered(code, grace_s=600)
    assert tethered.read_line() == "cleaned up"
    tethered.wait_until_gone()
    tethered.close()
