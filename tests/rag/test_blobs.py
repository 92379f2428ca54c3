"""Files' bytes in a bucket: there when the file is, and gone with it."""

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator

import asyncpg
import obstore
import pytest
from bucket_support import BucketServer, StoredInBucket, store_in_bucket
from knowledge import job_worker, parts_of, until_done, upload
from support import scope_of

import rag
from config.bucket_client import open_bucket
from config.files import FileSettings
from config.postgres import tenant_transaction
from rag import bucket_blobs, ingest
from rag.files import insert_file, receive_file
from rag.storage import IN_POSTGRES, Storage, open_storage
from rag.testing import InMemoryEmbedder

ACME, OTHER = scope_of("acme"), scope_of("other")
MIB = 1 << 20

MEASURED = """
import asyncio, resource, sys
import rag
from config.files import FileSettings
from config.postgres import open_pool
from config.scope import TenantScope

url, settings, mib = sys.argv[1:]
scope = TenantScope("acme", "client-1", frozenset())
storage = rag.open_storage(FileSettings.model_validate_json(settings))

async def parts(count):
    for _ in range(count):
        yield bytes(1 << 20)

async def there_and_back(pool, count):
    made = {"filename": "a", "purpose": "assistants", "parts": parts(count), "storage": storage}
    file = await rag.create_file(pool, scope, **made)
    size = 0
    async for part in rag.read_file(pool, scope, file.id, storage):
        size += len(part)
    assert size == count << 20

async def main():
    async with await open_pool(url, size=2) as pool:
        await there_and_back(pool, 6)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        await there_and_back(pool, int(mib))
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)

asyncio.run(main())
"""


@pytest.fixture
def bucket(bucket_server: BucketServer) -> StoredInBucket:
    return store_in_bucket(bucket_server)


@pytest.fixture
async def silent() -> AsyncIterator[str]:
    """The address of a server that takes requests and never answers."""

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    yield "http://127.0.0.1:{1}".format(*server.sockets[0].getsockname())
    server.close()


async def content_of(pool: asyncpg.Pool, file_id: str, storage: Storage) -> bytes:
    return b"".join([part async for part in rag.read_file(pool, ACME, file_id, storage)])


async def long_and(end: Exception) -> AsyncIterator[bytes]:
    for _ in range(12):
        yield b"x" * MIB
    raise end


@pytest.mark.parametrize("size", [0, 1, 4 * MIB, 5 * MIB, 12 * MIB + 7])
async def test_bytes_come_back_from_the_bucket(
    pool: asyncpg.Pool, owner: asyncpg.Connection, bucket: StoredInBucket, size: int
) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    stored = await upload(pool, "a.bin", data[:size], storage=bucket.storage)
    assert stored.bytes == size
    assert await rag.list_files(pool, ACME) == [stored]
    assert await content_of(pool, stored.id, bucket.storage) == data[:size]
    assert bucket.keys() == [f"acme/{stored.id}"]
    assert await owner.fetchval("SELECT count(*) FROM file_parts") == 0
    assert await owner.fetchval("SELECT count(*) FROM stray_objects") == 0
    assert await owner.fetchval("SELECT octet_length(sha256) FROM files") == 32


async def test_a_long_file_takes_little_memory_on_its_way(
    pool: asyncpg.Pool, bucket: StoredInBucket, empty_database: str
) -> None:
    secrets = {"access_key": "key", "secret": "word"}
    place = bucket.settings.model_dump(mode="json") | secrets
    given = json.dumps({"storage": "bucket", "bucket": place})
    argv = [sys.executable, "-c", MEASURED, empty_database, given, "90"]
    done = await asyncio.to_thread(
        subprocess.run, argv, check=True, timeout=120, stdout=subprocess.PIPE, text=True
    )
    assert int(done.stdout) < 45


async def test_an_upload_that_breaks_off_leaves_nothing_in_the_bucket(
    pool: asyncpg.Pool, bucket: StoredInBucket
) -> None:
    # An error that could be the bucket's as well.
    with pytest.raises(ConnectionResetError, match="the client left"):
        await rag.create_file(
            pool,
            ACME,
            filename="a",
            purpose="assistants",
            parts=long_and(ConnectionResetError("the client left")),
            storage=bucket.storage,
        )
    assert await rag.list_files(pool, ACME) == []
    assert bucket.keys() == bucket.unfinished() == []


async def test_an_upload_that_is_cancelled_leaves_no_file(
    pool: asyncpg.Pool, bucket: StoredInBucket
) -> None:
    under_way = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(12):
            yield b"x" * MIB
        under_way.set()
        await asyncio.Event().wait()

    creating = asyncio.create_task(
        rag.create_file(
            pool,
            ACME,
            filename="a",
            purpose="assistants",
            parts=endless(),
            storage=bucket.storage,
        )
    )
    await under_way.wait()
    creating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await creating
    assert await rag.list_files(pool, ACME) == []
    assert bucket.keys() == []


async def test_when_postgresql_takes_no_row_the_object_is_removed(
    pool: asyncpg.Pool, owner: asyncpg.Connection, bucket: StoredInBucket
) -> None:
    await owner.execute("ALTER TABLE files ADD CHECK (filename <> 'refused')")
    with pytest.raises(asyncpg.CheckViolationError):
        await upload(pool, "refused", "text", storage=bucket.storage)
    assert bucket.keys() == []
    # It may have been sent twice: it is looked for again later.
    assert await owner.fetchval("SELECT doomed FROM stray_objects") is True


async def test_a_commit_whose_answer_was_lost_keeps_its_object(
    pool: asyncpg.Pool, bucket: StoredInBucket
) -> None:
    with contextlib.suppress(ConnectionError):
        async with receive_file(pool, ACME, parts_of(b"text"), bucket.storage) as incoming:
            async with tenant_transaction(pool, "acme") as con:
                await insert_file(con, ACME, incoming, filename="a", purpose="assistants")
            raise ConnectionError
    (file,) = await rag.list_files(pool, ACME)
    assert await content_of(pool, file.id, bucket.storage) == b"text"


async def test_without_postgresql_nothing_is_sent(
    pool: asyncpg.Pool, owner: asyncpg.Connection, bucket: StoredInBucket
) -> None:
    await owner.execute("DROP TABLE stray_objects CASCADE")
    with pytest.raises(asyncpg.UndefinedTableError):
        await upload(pool, "a", "text", storage=bucket.storage)
    assert bucket.keys() == []


async def test_while_the_bucket_is_away_nothing_is_half_there(
    pool: asyncpg.Pool, bucket: StoredInBucket
) -> None:
    stored = await upload(pool, "a", "text", storage=bucket.storage)
    bucket.away()
    for size in (1, 12 * MIB):
        with pytest.raises(rag.FilesUnavailable):
            await upload(pool, "b", b"x" * size, storage=bucket.storage)
    with pytest.raises(rag.FilesUnavailable):
        await content_of(pool, stored.id, bucket.storage)
    bucket.back()
    assert await rag.list_files(pool, ACME) == [stored]
    assert await content_of(pool, stored.id, bucket.storage) == b"text"


async def test_a_bucket_that_never_answers_is_not_waited_for(
    pool: asyncpg.Pool, bucket: StoredInBucket, silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in ("_CALL_S", "_SEND_S", "_GIVE_UP_S"):
        monkeypatch.setattr(bucket_blobs, limit, 0.2)
    stored = await upload(pool, "a", "text", storage=bucket.storage)
    bucket.away(silent)
    async with asyncio.timeout(5):
        with pytest.raises(rag.FilesUnavailable, match="in time"):
            await upload(pool, "b", "text", storage=bucket.storage)
        with pytest.raises(rag.FilesUnavailable, match="in time"):
            await content_of(pool, stored.id, bucket.storage)
        assert bucket.storage.bucket
        with pytest.raises(rag.FilesUnavailable, match="in time"):
            await bucket.storage.bucket.check()


async def test_an_object_that_is_lost_or_cut_is_not_taken_for_the_file(
    pool: asyncpg.Pool, bucket: StoredInBucket
) -> None:
    stored = await upload(pool, "a", "a long text", storage=bucket.storage)
    await obstore.put_async(open_bucket(bucket.settings), f"acme/{stored.id}", b"a long")
    with pytest.raises(rag.FilesUnavailable, match="shorter"):
        await content_of(pool, stored.id, bucket.storage)
    other = store_in_bucket(bucket.server)
    with pytest.raises(rag.FilesUnavailable):
        await content_of(pool, stored.id, other.storage)


async def test_after_the_setting_is_changed_every_file_is_still_read(
    pool: asyncpg.Pool, bucket: StoredInBucket
) -> None:
    here = await upload(pool, "a", "in PostgreSQL")
    there = await upload(pool, "b", "in the bucket", storage=bucket.storage)
    back = open_storage(FileSettings(storage="postgres", bucket=bucket.settings))
    again = await upload(pool, "c", "in PostgreSQL again", storage=back)
    assert bucket.keys() == [f"acme/{there.id}"]
    for storage in (bucket.storage, back):
        found = [await content_of(pool, file.id, storage) for file in (here, there, again)]
        assert found == [b"in PostgreSQL", b"in the bucket", b"in PostgreSQL again"]
    with pytest.raises(rag.FilesUnavailable, match=r"files\.bucket is not set"):
        await content_of(pool, there.id, IN_POSTGRES)


async def test_another_tenants_bytes_are_missing(
    pool: asyncpg.Pool, bucket: StoredInBucket
) -> None:
    own = await upload(pool, "a", "own", storage=bucket.storage)
    other = await upload(pool, "a", "other's", tenant="other", storage=bucket.storage)
    assert sorted(bucket.keys()) == sorted([f"acme/{own.id}", f"other/{other.id}"])
    with pytest.raises(rag.NotFound):
        await content_of(pool, other.id, bucket.storage)
    with pytest.raises(rag.NotFound):
        await rag.delete_file(pool, ACME, other.id)
    async with (
        receive_file(pool, OTHER, parts_of(b"text"), bucket.storage),
        tenant_transaction(pool, "acme") as con,
    ):
        assert await con.fetchval("SELECT count(*) FROM stray_objects") == 0
        assert await con.execute("UPDATE stray_objects SET doomed = true") == "UPDATE 0"


async def test_a_document_is_read_from_the_bucket_however_long_that_is_away(
    pool: asyncpg.Pool,
    owner: asyncpg.Connection,
    store: str,
    embedder: InMemoryEmbedder,
    bucket: StoredInBucket,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ingest, "_BUCKET_AWAY_S", 0.01)
    asked = asyncio.Event()
    tries = 0

    async def failing(*given: object, **named: object) -> None:
        nonlocal tries
        tries += 1
        if tries > 3:  # more often than a document may fail
            asked.set()
        raise OSError

    file = await upload(pool, "a.md", "fifteen days of leave", storage=bucket.storage)
    await rag.add_file(pool, ACME, store, file.id)
    with monkeypatch.context() as away:
        away.setattr(obstore, "get_range_async", failing)
        async with job_worker(pool, embedder, storage=bucket.storage):
            await asyncio.wait_for(asked.wait(), 60)
    found = await rag.get_store_file(pool, ACME, store, file.id)
    assert (found.status, found.last_error) == ("in_progress", None)
    async with job_worker(pool, embedder, storage=bucket.storage):
        await until_done(pool, store)
    assert (await rag.get_store_file(pool, ACME, store, file.id)).status == "completed"
    found = await rag.search(pool, embedder, ACME, [store], "leave", k=1)
    assert [passage.source for passage in found.passages] == ["a.md"]
