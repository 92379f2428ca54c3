"""What a web worker that is killed in the middle leaves, in real processes."""

import asyncio
import multiprocessing
import os
import signal
from multiprocessing.connection import Connection
from pathlib import Path

import asyncpg
import pytest
from support import scope_of

from config.ledger import LedgerSettings
from gateway.govern.charge import Asked, Charge
from gateway.govern.ledger import open_ledger
from gateway.openai.usage import TokenUsage

SETTINGS = LedgerSettings()


async def _requests(url: str, folder: Path, told: Connection) -> None:
    """Begin, count and end requests for ever; say of each what has happened to it for certain."""
    async with open_ledger(SETTINGS, folder, url) as ledger:
        number = 0
        while True:
            charge = Charge(scope_of("acme", "app"), Asked("chat", "smart"))
            ledger.open(charge)
            attempt = charge.attempt("fake/x", "hosted")
            attempt.usage = TokenUsage(7, 0, 0)
            for said in range(1, 6):
                attempt.usage.completion_tokens = said
                charge.count()
                told.send((charge.id, said, False))
            if number % 3:
                charge.end()
                await ledger.close(charge)
                told.send((charge.id, 5, True))
            number += 1
            await asyncio.sleep(0)


def _worker(url: str, folder: Path, told: Connection) -> None:
    asyncio.run(_requests(url, folder, told))


def _kill_in_the_middle(url: str, folder: Path, after: int) -> dict[str, tuple[int, bool]]:
    """Kill a worker after it told that much; return the last that it said of each request."""
    context = multiprocessing.get_context("spawn")
    told, telling = context.Pipe(duplex=False)
    process = context.Process(target=_worker, args=(url, folder, telling))
    process.start()
    telling.close()
    known: dict[str, tuple[int, bool]] = {}
    count = 0
    try:
        while True:
            request, said, ended = told.recv()
            known[request] = (said, ended)
            count += 1
            if count == after:
                assert process.pid
                os.kill(process.pid, signal.SIGKILL)
    except EOFError:
        process.join(30)
    return known


@pytest.mark.parametrize("away", [False, True])
async def test_what_a_killed_worker_said_is_told_once(
    owner: asyncpg.Connection, empty_database: str, tmp_path: Path, away: bool
) -> None:
    url = "postgresql://naru@127.0.0.1:9/naru" if away else empty_database
    known: dict[str, tuple[int, bool]] = {}
    for after in (1, 40, 700):
        known |= await asyncio.to_thread(_kill_in_the_middle, url, tmp_path, after)
    async with open_ledger(SETTINGS, tmp_path, empty_database), asyncio.timeout(60):
        while await owner.fetchval("SELECT count(*) FROM usage_records") < len(known):
            await asyncio.sleep(0.05)
    rows = {row["id"].hex: row for row in await owner.fetch("SELECT * FROM usage_records")}
    assert known.keys() <= rows.keys()
    # One per worker may have been begun, or ended, without its word being heard.
    assert len(rows) <= len(known) + 3
    for request, (said, ended) in known.items():
        row = rows[request]
        assert row["prompt_tokens"] == 7
        assert row["completion_tokens"] >= said
        assert not ended or row["ending"] == "completed"
    endings = [row["ending"] for row in rows.values()]
    assert endings.count("killed") >= len(known) // 4
