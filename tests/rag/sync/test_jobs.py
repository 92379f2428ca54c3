"""Sources are read when they are due, once at a time, also after a crash at any point."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
from knowledge import job_worker, until_done
from support import scope_of
from sync_support import Folder, Kept

import rag
from config.postgres import open_pool
from config.settings import RetrievalSettings
from rag import sync
from rag.job_queue import run
from rag.jobs import Jobs
from rag.sync.folder import FolderReader
from rag.testing import InMemoryEmbedder

HANDBOOKS = sync.FolderOrigin("handbooks")

DYING = """
import asyncio, os, signal, sys
from config.postgres import open_pool
from config.sync import SyncSettings
from rag.sync import Limits, sync_source, writing
from rag.sync.folder import FolderReader

url, tenant, source, settings, where = sys.argv[1:]
calls = 0

def die_after(owner, name, times):
    do = getattr(owner, name)
    async def dying(*given, **named):
        global calls
        found = await do(*given, **named)
        calls += 1
        if calls == times:
            os.kill(os.getpid(), signal.SIGKILL)
        return found
    setattr(owner, name, dying)

owner, name, times = where.split()
die_after({"reader": FolderReader, "writing": writing, "writer": writing.Writer}[owner],
          name, int(times))

async def main():
    async with await open_pool(url, size=6) as pool:
        limits = Limits(SyncSettings.model_validate_json(settings), 1_000_000)
        await sync_source(pool, tenant, source, limits)

asyncio.run(main())
"""


@asynccontextmanager
async def syncing(kept: Kept) -> AsyncIterator[sync.Syncer]:
    """The job worker's part in sync."""
    jobs, stop = Jobs(), asyncio.Event()
    async with await open_pool(kept.pool._connect_args[0], size=8, role="naru_jobs") as pool:
        syncer = sync.Syncer(pool, sync.Limits(kept.settings, kept.max_file_bytes))
        syncer.register(jobs)
        running = asyncio.create_task(run(pool, jobs, stop))
        yield syncer
        stop.set()
        await asyncio.wait_for(running, 10)


async def until_read(kept: Kept, source: str) -> sync.Source:
    """Return the source when its first or next run has ended and none is due."""
    async with asyncio.timeout(30):
        while True:
            found = await kept.get(source)
            last = found.last_run
            if last and last.finished_at and not (found.due_at and found.due_at < last.started_at):
                return found
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(("schedule", "hours"), [("hourly", 1), ("daily", 24), ("weekly", 168)])
async def test_a_source_with_a_schedule_is_read_at_once_and_due_again(
    kept: Kept, folder: Folder, schedule: sync.Schedule, hours: int
) -> None:
    folder.put("a.md", "fifteen", age=1)
    async with syncing(kept):
        found = await until_read(kept, await kept.add(HANDBOOKS, schedule))
    assert found.last_run
    assert found.due_at
    assert found.last_run.added == 1
    assert (found.due_at - found.last_run.started_at).total_seconds() == hours * 3600


async def test_a_source_that_fell_due_while_no_worker_ran_is_read_when_one_does(
    kept: Kept, folder: Folder, owner: asyncpg.Connection
) -> None:
    folder.put("a.md", "fifteen", age=1)
    source = await kept.add(HANDBOOKS, "daily")
    other = await kept.add(HANDBOOKS)
    await owner.execute("DELETE FROM pgqueuer")
    async with syncing(kept) as syncer:
        await syncer.enqueue_due()
        await syncer.enqueue_due()
        assert (await until_read(kept, source)).last_run
    assert (await kept.get(other)).last_run is None
    assert await owner.fetchval("SELECT run FROM sources WHERE id = $1", source) == 1


async def test_a_source_asked_for_by_hand_is_read_once_and_not_due_again(
    kept: Kept, folder: Folder
) -> None:
    folder.put("a.md", "fifteen", age=1)
    source = await kept.add(HANDBOOKS)
    async with syncing(kept):
        await sync.request_sync(kept.pool, scope_of(), kept.store, source)
        found = await until_read(kept, source)
    assert found.due_at is None
    assert await kept.contents() == {"a.md": b"fifteen"}


async def test_asked_for_while_it_is_read_it_stays_due(kept: Kept, folder: Folder) -> None:
    folder.put("a.md", "fifteen", age=1)
    source = await kept.add(HANDBOOKS)
    listing = FolderReader.list

    async def asked_for(reader: FolderReader) -> object:
        await sync.request_sync(kept.pool, scope_of(), kept.store, source)
        return await listing(reader)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FolderReader, "list", asked_for)
        await kept.run(source)
    assert (await kept.get(source)).due_at
    await kept.run(source)
    assert (await kept.get(source)).due_at is None


async def test_a_changed_document_is_found_in_one_version_or_the_other_at_every_moment(
    kept: Kept, folder: Folder
) -> None:
    embedder = InMemoryEmbedder()
    folder.put("a.md", "Employees get fifteen days of leave.", age=1)
    source = await kept.add(HANDBOOKS)

    async def found() -> list[str]:
        hits = await rag.search(kept.pool, embedder, scope_of(), [kept.store], "days of leave", k=5)
        return [passage.content for passage in hits.passages]

    await kept.run(source)
    async with job_worker(kept.pool, embedder, RetrievalSettings()):
        await until_done(kept.pool, kept.store)
    before = await found()
    assert before == ["Employees get fifteen days of leave."]
    folder.put("a.md", "Employees get sixteen days of leave.", age=2)
    await kept.run(source)
    async with job_worker(kept.pool, embedder, RetrievalSettings()):
        async with asyncio.timeout(30):
            while (hits := await found()) == before:
                await asyncio.sleep(0)
    assert hits == ["Employees get sixteen days of leave."]
    assert await kept.files() == 1


@pytest.mark.parametrize(
    "where",
    [
        "reader list 1",
        "reader fetch 2",
        "writing insert_file 2",
        "writing attach 1",
        "writing put_version 2",
        "writer put 2",
        "writing remove_item 1",
        "writer remove 1",
    ],
)
async def test_after_a_kill_at_any_point_running_again_finishes_and_doubles_nothing(
    kept: Kept, folder: Folder, empty_database: str, where: str
) -> None:
    for name in ("a.md", "b.md", "c.md"):
        folder.put(name, name, age=1)
    source = await kept.add(HANDBOOKS, "daily")
    await kept.run(source)
    await kept.read()
    folder.put("a.md", "changed", age=2)
    folder.put("d.md", "new", age=2)
    folder.take("c.md")
    await sync.request_sync(kept.pool, scope_of(), kept.store, source)
    settings = kept.but(at_once=1).settings.model_dump_json()
    argv = [sys.executable, "-c", DYING, empty_database, "acme", source, settings, where]
    died = await asyncio.to_thread(subprocess.run, argv, check=False, timeout=60)
    assert died.returncode == -signal.SIGKILL
    found = await kept.get(source)
    assert found.last_run
    assert found.last_run.status == "in_progress"
    assert found.due_at
    assert found.due_at < found.last_run.started_at
    async with asyncio.timeout(30):  # until PostgreSQL has seen that the other is dead
        while (await kept.run(source)).status == "in_progress":
            await asyncio.sleep(0.05)
    await kept.read()
    wanted = {"a.md": b"changed", "b.md": b"b.md", "d.md": b"new"}
    assert await kept.searchable() == await kept.contents() == wanted
    assert await kept.newest(source) == wanted
    assert await kept.files() == 3
