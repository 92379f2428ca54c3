"""A child's start is followed; what plays vLLM here is a small server, or fails."""

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from config.embedded import Command
from gateway import children
from gateway.children import Child
from gateway.engines.probe import is_up
from gateway.engines.replica import Replica

_SERVER = """
import http.server, socketserver, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
    def do_POST(self):
        print(self.path, self.rfile.read(int(self.headers["content-length"])), flush=True)
        self.do_GET()
    def address_string(self):
        return ""
print("INFO Starting to load model", flush=True)
print("INFO Loading weights took 1.7 seconds", flush=True)
socketserver.UnixStreamServer(sys.argv[1], Handler).serve_forever()
"""
_FAILING = """
print("Traceback (most recent call last):")
print("OSError: no such model", flush=True)
print("RuntimeError: Engine core initialization failed. See root cause above.", flush=True)
raise SystemExit(1)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="naru-replica-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "_FIRST_DELAY_S", 0.01)


@asynccontextmanager
async def watched(folder: Path, code: str) -> AsyncIterator[Replica]:
    socket, log = folder / "e.sock", folder / "e.log"
    run = Command("engine-tiny", [sys.executable, "-c", code, str(socket)])
    replica = Replica("tiny", Child(run, os.environ, (), log, socket), socket, log)
    watching = asyncio.create_task(replica.watch())
    replica.child.start()
    yield replica
    watching.cancel()
    await replica.child.stop()


@pytest.mark.parametrize("loading", ["Starting to load model", "Loading model from scratch..."])
async def test_its_start_is_told_and_ends_with_a_warm_up(
    folder: Path, capsys: pytest.CaptureFixture[str], loading: str
) -> None:
    code = _SERVER.replace("Starting to load model", loading)
    async with watched(folder, code) as replica, asyncio.timeout(20):
        await replica.settled.wait()
        assert await is_up(replica.socket)
    assert '/v1/completions b\'{"model":"tiny","prompt":' in replica.log.read_text()
    assert capsys.readouterr().err.splitlines() == [
        "  engine-tiny: loading weights",
        "  engine-tiny: weights loaded in 2 s",
        "  engine-tiny: ready in 0 s",
    ]


async def test_after_a_crash_it_is_up_again_on_the_same_socket(folder: Path) -> None:
    async with watched(folder, _SERVER) as replica, asyncio.timeout(20):
        await replica.settled.wait()
        assert replica.child._process is not None
        (server,) = psutil.Process(replica.child._process.pid).children()
        server.kill()
        while not (replica.child.starts == 2 and replica.up):
            await asyncio.sleep(0.01)
        assert await is_up(replica.socket)


async def test_one_that_can_not_start_is_not_waited_for_and_its_cause_is_told(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with watched(folder, _FAILING) as replica, asyncio.timeout(20):
        await replica.settled.wait()
        assert not replica.up
    assert "naru: engine-tiny: OSError: no such model" in capsys.readouterr().err.splitlines()


async def test_nothing_there_is_not_up(folder: Path) -> None:
    assert not await is_up(folder / "nothing.sock")
