"""What a process does for its metrics beside its work: looks at itself, and tells the others."""

import asyncio
import itertools
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path

import asyncpg

from config.tasks import end_task
from gateway.observe import metrics
from gateway.observe.batches import flush_batches
from gateway.observe.exposition import render
from gateway.observe.shared import Shared

_LOOK_S = 0.5
_FRESH_S = 0.2
_TASKS_TURNS = 20  # to count them takes some milliseconds where there are thousands
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_STATM = Path("/proc/self/statm")
_log = logging.getLogger(__name__)

Look = Callable[[], None]


def shared_in(runtime: Path) -> Shared:
    """Return the metrics of all processes that were started with that runtime folder."""
    return Shared(runtime / "metrics", metrics.ALL)


class Published:
    """This process's metrics; `looks` set the gauges that nobody sets in passing."""

    def __init__(self, shared: Shared, process: str, looks: Sequence[Look] = ()) -> None:
        self._shared = shared
        self._process = process
        self._looks = looks
        self._cpu = 0.0
        self._heard = True
        metrics.BUILD.set(1, version("naru-gateway"))
        self._rendering = asyncio.Lock()
        self._rendered: tuple[float, str, tuple[bytes, str]] | None = None
        # One: what was counted later is written later, and nothing is written twice at once.
        self._thread = ThreadPoolExecutor(1, "metrics")

    async def scrape(self, accept: str) -> tuple[bytes, str]:
        """Return the metrics of all processes, and their media type."""
        async with self._rendering:
            told = self._rendered
            if not told or told[1] != accept or time.monotonic() - told[0] > _FRESH_S:
                loop = asyncio.get_running_loop()
                answer = await loop.run_in_executor(self._thread, self._render, self._own(), accept)
                told = self._rendered = (time.monotonic(), accept, answer)
            return told[2]

    @asynccontextmanager
    async def publishing(self) -> AsyncIterator[None]:
        """Tell the others every half second, while the context is open, and once at its end."""
        running = asyncio.create_task(self._publish())
        try:
            yield
        finally:
            await end_task(running)
            await self._write()
            self._thread.shutdown(wait=False)

    async def _publish(self) -> None:
        loop = asyncio.get_running_loop()
        for turn in itertools.count():
            if turn % _TASKS_TURNS == 0:
                metrics.LOOP_TASKS.set(len(asyncio.all_tasks()), self._process)
            asked = loop.time() + _LOOK_S
            await asyncio.sleep(_LOOK_S)
            metrics.LOOP_LAG.observe(max(loop.time() - asked, 0.0), self._process)
            await self._write()

    async def _write(self) -> None:
        try:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._thread, self._shared.write, self._own())
        except OSError as error:
            if self._heard:
                _log.warning("metrics are not told: %s", error.strerror)
            self._heard = False
        else:
            self._heard = True

    def _own(self) -> bytes:
        flush_batches()
        for look in self._looks:
            look()
        cpu = time.process_time()
        metrics.PROCESS_CPU.add(self._process, by=cpu - self._cpu)
        self._cpu = cpu
        if _STATM.exists():
            pages = int(_STATM.read_text().split()[1])
            metrics.PROCESS_MEMORY.set(pages * _PAGE_BYTES, self._process)
        metrics.PROCESS_UP.set(1, self._process)
        return self._shared.encoded()

    def _render(self, own: bytes, accept: str) -> tuple[bytes, str]:
        # What is told is written down first: no counter may fall when this process is killed.
        self._shared.write(own)
        return render(self._shared.total(), accept)


def look_at_pools(*pools: asyncpg.Pool) -> Look:
    """Return what sets the gauges of a process's connections to PostgreSQL."""

    def look() -> None:
        size = sum(pool.get_size() for pool in pools)
        metrics.POOL_SIZE.set(size)
        metrics.POOL_BUSY.set(size - sum(pool.get_idle_size() for pool in pools))
        metrics.POOL_MAX.set(sum(pool.get_max_size() for pool in pools))

    return look
