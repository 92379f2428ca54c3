"""Objects without a file go, and no other."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import asyncpg
import pytest
from bucket_support import BucketServer, StoredInBucket, store_in_bucket
from knowledge import parts_of, upload
from support import scope_of

import rag
from config.postgres import open_pool
from rag.files import receive_file
from rag.job_queue import run
from rag.jobs import Jobs
from rag.stray_objects import StrayObjects

ACME = scope_of("acme")
LATER = "UPDATE stray_objects SET remove_after = remove_after - interval '61 minutes'"


@pytest.fixture
def bucket(bucket_server: BucketServer) -> StoredInBucket:
    return store_in_bucket(bucket_server)


@pytest.fixture
async def jobs(pool: asyncpg.Pool, empty_database: str) -> AsyncIterator[asyncpg.Pool]:
    async with await open_pool(empty_database, size=3, role="naru_jobs") as opened:
        yield opened


@pytest.fixture
def strays(jobs: asyncpg.Pool, bucket: StoredInBucket) -> StrayObjects:
    assert bucket.storage.bucket
    return StrayObjects(jobs, bucket.storage.bucket)


async def break_off(pool: asyncpg.Pool, bucket: StoredInBucket) -> None:
    """Crash after an upload, before its row is there."""
    with contextlib.suppress(ConnectionError):
        async with receive_file(pool, ACME, parts_of(b"orphan"), bucket.storage):
            bucket.away()
            raise ConnectionError
    bucket.back()


async def test_the_object_of_a_deleted_file_goes(
    pool: asyncpg.Pool, owner: asyncpg.Connection, strays: StrayObjects, bucket: StoredInBucket
) -> None:
    gone = await upload(pool, "a", "text", storage=bucket.storage)
    kept = await upload(pool, "b", "text", storage=bucket.storage)
    bucket.away()
    await rag.delete_file(pool, ACME, gone.id)  # does not need the bucket
    await strays.sweep()
    bucket.back()
    assert len(bucket.keys()) == 2
    await strays.sweep()
    assert bucket.keys() == [f"acme/{kept.id}"]
    assert await owner.fetchval("SELECT count(*) FROM stray_objects") == 0


async def test_an_orphan_goes_after_an_hour_by_postgresqls_clock(
    pool: asyncpg.Pool, owner: asyncpg.Connection, strays: StrayObjects, bucket: StoredInBucket
) -> None:
    await break_off(pool, bucket)
    await strays.sweep()
    assert len(bucket.keys()) == 1
    await owner.execute(LATER)
    await strays.sweep()
    assert bucket.keys() == []
    assert await owner.fetchval("SELECT count(*) FROM stray_objects") == 0


async def test_an_object_that_a_file_names_is_never_removed(
    pool: asyncpg.Pool, owner: asyncpg.Connection, strays: StrayObjects, bucket: StoredInBucket
) -> None:
    file = await upload(pool, "a", "text", storage=bucket.storage)
    # As after a restore that brought the file back.
    await owner.execute(
        "INSERT INTO stray_objects (object, tenant, remove_after) VALUES ($1, 'acme', '-infinity')",
        f"acme/{file.id}",
    )
    await strays.sweep()
    assert bucket.keys() == [f"acme/{file.id}"]
    assert await owner.fetchval("SELECT count(*) FROM stray_objects") == 0


async def test_an_upload_of_which_the_object_was_removed_makes_no_file(
    pool: asyncpg.Pool, owner: asyncpg.Connection, strays: StrayObjects, bucket: StoredInBucket
) -> None:
    async def slow() -> AsyncIterator[bytes]:
        yield b"text"
        await owner.execute(LATER)
        await strays.sweep()

    with pytest.raises(rag.FilesUnavailable):
        await rag.create_file(
            pool, ACME, filename="a", purpose="assistants", parts=slow(), storage=bucket.storage
        )
    assert await rag.list_files(pool, ACME) == []


async def test_uploads_and_deletions_beside_sweeps_lose_nothing(
    pool: asyncpg.Pool, owner: asyncpg.Connection, strays: StrayObjects, bucket: StoredInBucket
) -> None:
    async def sweep() -> None:
        for _ in range(20):
            await owner.execute(LATER)  # every upload looks as if it had taken too long
            await strays.sweep()

    async def store(number: int) -> None:
        try:
            file = await upload(pool, f"{number}", b"text", storage=bucket.storage)
        except rag.FilesUnavailable:
            return
        if number % 3 == 0:
            await rag.delete_file(pool, ACME, file.id)

    kept = [await upload(pool, f"kept {n}", b"text", storage=bucket.storage) for n in range(3)]
    await asyncio.gather(sweep(), *(store(number) for number in range(60)))
    files = {f"acme/{file.id}" for file in await rag.list_files(pool, ACME)}
    assert files >= {f"acme/{file.id}" for file in kept}  # of the others, sweeps may take any
    async with asyncio.timeout(60):
        # What a busy bucket does not do stays due.
        while (left := set(bucket.keys())) > files:
            await owner.execute(LATER)
            await strays.sweep()
    assert left == files


async def test_the_job_worker_does_it_every_minute(
    pool: asyncpg.Pool, jobs: asyncpg.Pool, strays: StrayObjects, bucket: StoredInBucket
) -> None:
    known, stop = Jobs(), asyncio.Event()
    strays.register(known)
    assert known.schedules == [("* * * * *", "remove_objects")]
    file = await upload(pool, "a", "text", storage=bucket.storage)
    await rag.delete_file(pool, ACME, file.id)
    await jobs.execute("SELECT queue_job('remove_objects', '', '{}', 1, NULL, interval '0')")
    running = asyncio.create_task(run(jobs, known, stop))
    async with asyncio.timeout(30):
        while await asyncio.to_thread(bucket.keys):
            await asyncio.sleep(0.02)
    stop.set()
    await asyncio.wait_for(running, 10)
