import asyncio
from pathlib import Path

from gateway.observe import metrics
from gateway.observe.publishing import Published, shared_in


async def test_scrapes_while_metrics_are_written_find_them(tmp_path: Path) -> None:
    published = Published(shared_in(tmp_path), "web-1")

    async def write() -> None:
        for _ in range(100):
            await published._write()

    async def scrape() -> None:
        for turn in range(100):
            told, _ = await published.scrape(f"text/plain;q=0.{turn}")
            assert metrics.PROCESS_UP.name.encode() in told

    await asyncio.gather(write(), scrape())
