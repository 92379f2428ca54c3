"""Documents of a source that go into the bucket of files."""

import asyncio

import asyncpg
import pytest
from bucket_support import BucketServer, store_in_bucket
from support import scope_of
from sync_support import Folder, Kept

import rag
from config.postgres import open_pool
from rag import sync
from rag.job_queue import run
from rag.jobs import Jobs
from rag.sync import jobs as sync_jobs


async def test_while_the_bucket_is_away_a_source_waits_and_nothing_is_lost(
    kept: Kept,
    folder: Folder,
    bucket_server: BucketServer,
    owner: asyncpg.Connection,
    empty_database: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sync_jobs, "_BUCKET_AWAY_S", 0.01)
    bucket = store_in_bucket(bucket_server)
    bucket.away()
    folder.put("a.md", "fifteen", age=1)
    source = await kept.add(sync.FolderOrigin("handbooks"), "daily")
    limits = sync.Limits(kept.settings, kept.max_file_bytes)
    with pytest.raises(rag.FilesUnavailable):
        await sync.sync_source(kept.pool, "acme", source, limits, bucket.storage)
    known, stop = Jobs(), asyncio.Event()
    async with await open_pool(empty_database, size=8, role="naru_jobs") as pool:
        sync.Syncer(pool, limits, bucket.storage).register(known)
        running = asyncio.create_task(run(pool, known, stop))
        async with asyncio.timeout(30):
            while await owner.fetchval("SELECT run FROM sources") < 3:
                await asyncio.sleep(0.02)
            assert await kept.files() == 0
            assert (await kept.get(source)).last_run.failed == 0
            bucket.back()
            while not await kept.files():
                await asyncio.sleep(0.02)
        stop.set()
        await asyncio.wait_for(running, 10)
    (file,) = await rag.list_files(kept.pool, scope_of())
    assert bucket.keys() == [f"acme/{file.id}"]
