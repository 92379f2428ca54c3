"""Redis with a clock that tests set, counters in it, and a Redis that can be hurt."""

import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import redis.asyncio
from support import scope_of

from config import embedded
from gateway.govern.charge import Asked, Charge
from gateway.govern.governor import Governor
from gateway.govern.limits_redis import Counters
from gateway.govern.limits_rules import Limit, Measure
from gateway.govern.limits_script import SCRIPT

_CLOCK = "redis.call('HMGET', 'test:clock', 's', 'us')"
assert SCRIPT.count("redis.call('TIME')") == 1
CLOCKED = SCRIPT.replace("redis.call('TIME')", _CLOCK)
"""The script, by a clock that stands in Redis too."""


@dataclass
class Clock:
    """The clock of `CLOCKED`."""

    redis: redis.asyncio.Redis
    ms: int = 1_800_000_000_000

    async def set(self, ms: int) -> None:
        self.ms = ms
        now = {"s": ms // 1000, "us": ms % 1000 * 1000}
        await self.redis.hset("test:clock", mapping=now)

    async def go(self, ms: int) -> None:
        await self.set(self.ms + ms)


@dataclass
class Scene:
    """Counters in Redis by a clock of the test's."""

    redis: redis.asyncio.Redis
    clock: Clock
    counters: Counters
    word: str = field(default_factory=lambda: uuid.uuid4().hex)

    def limit(self, measure: Measure, most: int, name: str = "x") -> Limit:
        return Limit("client", "app", measure, most, f"test:{self.word}:{name}:{measure}")


def charge_of(*, model: str = "m", **asked: object) -> Charge:
    """A request of client `app` of tenant `acme`."""
    return Charge(scope_of("acme", "app"), Asked("chat", model, **asked))  # type: ignore[arg-type]


class Noting(Governor):
    """A governor that remembers what it let in and what it settled."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[Charge] = []
        self.settled: list[Charge] = []

    async def begin(self, charge: Charge) -> None:
        await super().begin(charge)
        self.begun.append(charge)

    async def _settle(self, charge: Charge) -> None:
        await super()._settle(charge)
        self.settled.append(charge)


class OwnRedis:
    """A Redis of a test's own: it can be killed, stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._socket = folder / "redis.sock"
        self.url = f"unix://{self._socket}"
        self._command = embedded.redis_command(folder, folder)
        self.start()

    def start(self) -> None:
        self._child = subprocess.Popen(self._command.argv, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while not self._answers():
            assert time.monotonic() < deadline, "Redis did not start"
            time.sleep(0.01)

    def kill(self) -> None:
        self._child.kill()
        self._child.wait()

    def hang(self) -> None:
        self._child.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._child.send_signal(signal.SIGCONT)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(self._socket))
            except OSError:
                return False
            probe.sendall(b"PING\r\n")
            return probe.recv(7) == b"+PONG\r\n"


@contextmanager
def own_redis() -> Iterator[OwnRedis]:
    """Start one; its socket's folder is short, as a socket's path has to be."""
    with tempfile.TemporaryDirectory(prefix="naru-redis-") as folder:
        server = OwnRedis(Path(folder))
        try:
            yield server
        finally:
            server.kill()
