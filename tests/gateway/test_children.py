"""Children: kept running, stopped, hurried."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from config.embedded import Command
from gateway import children
from gateway.children import Child, stop_all

_STUBBORN = """
import os, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", os.environ["WHO"], flush=True)
while True: signal.pause()
"""


def child(code: str, log: Path, grace_s: float = 30.0) -> Child:
    command = Command("test", [sys.executable, "-c", code], grace_s=grace_s)
    return Child(command, {**os.environ, "WHO": "me"}, log=log)


async def until(condition: Callable[[], bool], limit_s: float = 20.0) -> None:
    async with asyncio.timeout(limit_s):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "_FIRST_DELAY_S", 0.01)
    monkeypatch.setattr(children, "_LONGEST_DELAY_S", 0.04)


async def test_a_crashed_child_is_started_again_with_back_off(
    quick: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crashing = child("raise SystemExit(3)", tmp_path / "log")
    crashing.start()
    await until(lambda: crashing.starts >= 5)
    await crashing.stop()
    said = [line for line in capsys.readouterr().err.splitlines() if "restarting" in line]
    assert said[0] == (
        f"naru: test ended with status 3 (see {tmp_path / 'log'}); restarting in 0.01 s"
    )
    assert [line.rpartition(" in ")[2] for line in said[:4]] == [
        *("0.01 s", "0.02 s"),
        *("0.04 s", "0.04 s"),
    ]


async def test_output_goes_to_the_log_and_the_environment_to_the_child(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "test.log"
    stubborn = child(_STUBBORN, log, grace_s=0.1)
    stubborn.start()
    await until(lambda: log.exists() and log.read_text() == "up me\n")
    assert stubborn.running
    await stubborn.stop()
    assert not stubborn.running
    assert log.stat().st_mode & 0o777 == 0o600


async def test_hurry_cuts_the_grace_time_short(tmp_path: Path) -> None:
    log = tmp_path / "log"
    stubborn = child(_STUBBORN, log, grace_s=600)
    stubborn.start()
    await until(lambda: log.exists() and log.read_text() != "")
    stopping = asyncio.create_task(stop_all([stubborn]))
    async with asyncio.timeout(20):
        while not stopping.done():
            stubborn.hurry()
            await asyncio.wait([stopping], timeout=0.1)
    assert not stubborn.running


async def test_a_child_that_waits_for_its_restart_is_stopped_at_once(tmp_path: Path) -> None:
    crashing = child("pass", tmp_path / "log")
    crashing.start()
    await until(lambda: crashing.starts == 1 and not crashing.running)
    await crashing.stop()
    crashing.hurry()
    assert crashing.starts == 1


async def test_a_long_log_is_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "_LOG_LIMIT_BYTES", 10)
    log = tmp_path / "test.log"
    log.write_text("what was written before")
    noisy = child("print('new')", log)
    noisy.start()
    await until(lambda: log.exists() and log.read_text() == "new\n")
    await noisy.stop()
    assert (tmp_path / "test.log.1").read_text() == "what was written before"


async def test_stopping_uses_the_commands_own_signal(tmp_path: Path) -> None:
    code = (
        "import signal, os\n"
        "signal.signal(signal.SIGINT, lambda *_: (print('bye', flush=True), os._exit(0)))\n"
        "print('up', flush=True)\n"
        "while True: signal.pause()\n"
    )
    log = tmp_path / "log"
    command = Command("test", [sys.executable, "-c", code], stop_signal=signal.SIGINT)
    polite = Child(command, os.environ, log=log)
    polite.start()
    await until(lambda: log.exists() and log.read_text() == "up\n")
    await polite.stop()
    assert log.read_text() == "up\nbye\n"
