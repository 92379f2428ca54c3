"""Files attached together: all or none, counted, cancelled."""

import asyncio

import asyncpg
import pytest
from knowledge import fill, job_worker, until_done, upload
from support import scope_of

import rag
from rag.testing import InMemoryEmbedder

ACME, OTHER = scope_of("acme"), scope_of("other")


async def uploaded(pool: asyncpg.Pool, count: int) -> list[str]:
    return [(await upload(pool, f"{n}.md", f"text {n}")).id for n in range(count)]


async def test_a_batch_is_counted_by_status_until_it_is_read(
    pool: asyncpg.Pool, store: str, embedder: InMemoryEmbedder
) -> None:
    ids = [(await upload(pool, name, text)).id for name, text in (("a.md", "text"), ("b.md", ""))]
    made = await rag.create_batch(pool, ACME, store, [rag.NewFile(id_) for id_ in ids])
    assert (made.status, made.counts) == ("in_progress", rag.FileCounts(2, 0, 0, 0))
    assert await rag.get_batch(pool, ACME, store, made.id) == made
    async with job_worker(pool, embedder):
        await until_done(pool, store)
    done = await rag.get_batch(pool, ACME, store, made.id)
    assert (done.status, done.counts) == ("completed", rag.FileCounts(0, 1, 1, 0))
    failed = await rag.list_batch_files(pool, ACME, store, made.id, status="failed")
    assert [file.id for file in failed] == [ids[1]]


async def test_a_batch_of_which_nothing_could_be_read_has_failed(
    pool: asyncpg.Pool, store: str, embedder: InMemoryEmbedder
) -> None:
    file = await upload(pool, "empty.md", "")
    batch = await rag.create_batch(pool, ACME, store, [rag.NewFile(file.id)])
    async with job_worker(pool, embedder):
        await until_done(pool, store)
    assert (await rag.get_batch(pool, ACME, store, batch.id)).status == "failed"


async def test_each_file_keeps_its_own_attributes_and_chunking(
    pool: asyncpg.Pool, store: str
) -> None:
    ids = await uploaded(pool, 2)
    cut = rag.Chunking(200, 50)
    files = [rag.NewFile(ids[0], {"year": 2026}, cut), rag.NewFile(ids[1], {"draft": True})]
    batch = await rag.create_batch(pool, ACME, store, files)
    listed = await rag.list_batch_files(pool, ACME, store, batch.id, rag.Cursor(order="asc"))
    assert {file.id: (file.attributes, file.chunking) for file in listed} == {
        ids[0]: ({"year": 2026}, cut),
        ids[1]: ({"draft": True}, None),
    }


async def test_one_missing_file_keeps_all_out_and_is_named(
    pool: asyncpg.Pool, owner: asyncpg.Connection, store: str
) -> None:
    ids = await uploaded(pool, 2)
    foreign = (await upload(pool, "a.md", "x", tenant="other")).id
    for missing in (foreign, "file-0", "a\0b"):
        files = [rag.NewFile(id_) for id_ in (ids[0], missing, ids[1])]
        with pytest.raises(rag.NotFound) as caught:
            await rag.create_batch(pool, ACME, store, files)
        assert (caught.value.what, caught.value.id) == ("file", missing)
    assert await owner.fetchval("SELECT count(*) FROM store_files") == 0
    assert await owner.fetchval("SELECT count(*) FROM file_batches") == 0


async def test_cancelling_stops_what_is_in_progress_and_keeps_what_is_read(
    pool: asyncpg.Pool, store: str, embedder: InMemoryEmbedder
) -> None:
    files = await fill(pool, embedder, store, {"read.md": "annual leave"})
    waiting = await uploaded(pool, 2)
    batch = await rag.create_batch(
        pool, ACME, store, [rag.NewFile(id_) for id_ in (files["read.md"].id, *waiting)]
    )
    assert batch.counts == rag.FileCounts(2, 1, 0, 0)
    cancelled = await rag.cancel_batch(pool, ACME, store, batch.id)
    assert (cancelled.status, cancelled.counts) == ("cancelled", rag.FileCounts(0, 1, 0, 2))
    assert await rag.cancel_batch(pool, ACME, store, batch.id) == cancelled
    async with job_worker(pool, embedder):
        again = await rag.create_batch(pool, ACME, store, [rag.NewFile(waiting[0])])
        await until_done(pool, store)
    assert (await rag.get_batch(pool, ACME, store, again.id)).status == "completed"
    assert (await rag.get_store(pool, ACME, store)).counts == rag.FileCounts(0, 2, 0, 1)


async def test_lists_of_a_batch_hold_its_files_alone(pool: asyncpg.Pool, store: str) -> None:
    ids = await uploaded(pool, 4)
    await rag.add_file(pool, ACME, store, ids[3])
    batch = await rag.create_batch(pool, ACME, store, [rag.NewFile(id_) for id_ in ids[:3]])
    first = await rag.list_batch_files(pool, ACME, store, batch.id, rag.Cursor(2, order="asc"))
    rest = await rag.list_batch_files(
        pool, ACME, store, batch.id, rag.Cursor(after=first[-1].id, order="asc")
    )
    assert [file.id for file in first + rest] == sorted(ids[:3])
    assert await rag.list_batch_files(pool, ACME, store, batch.id, status="completed") == []


async def test_batches_of_the_same_files_at_once_do_not_lock_each_other_out(
    pool: asyncpg.Pool, owner: asyncpg.Connection, store: str
) -> None:
    ids = await uploaded(pool, 10)
    orders = [ids, ids[::-1], ids[5:] + ids[:5], ids[::2] + ids[1::2]] * 2
    made = await asyncio.gather(
        *(rag.create_batch(pool, ACME, store, [rag.NewFile(i) for i in o]) for o in orders)
    )
    assert len({batch.id for batch in made}) == len(orders)
    assert await owner.fetchval("SELECT count(*) FROM store_files") == 10
    assert (await rag.get_store(pool, ACME, store)).counts == rag.FileCounts(10, 0, 0, 0)


async def test_a_batch_into_a_store_that_is_being_deleted_is_made_or_refused(
    pool: asyncpg.Pool, owner: asyncpg.Connection
) -> None:
    ids = await uploaded(pool, 3)
    for _ in range(5):
        store = (await rag.create_store(pool, ACME)).id
        files = [rag.NewFile(id_) for id_ in ids]
        *made, _ = await asyncio.gather(
            *(rag.create_batch(pool, ACME, store, files) for _ in range(3)),
            rag.delete_store(pool, ACME, store),
            return_exceptions=True,
        )
        assert all(isinstance(each, rag.FileBatch | rag.NotFound) for each in made), made
    for table in ("store_files", "file_batches", "store_counts"):
        assert await owner.fetchval(f"SELECT count(*) FROM {table}") == 0, table


async def test_another_tenant_finds_no_batch(pool: asyncpg.Pool, store: str) -> None:
    ids = await uploaded(pool, 1)
    batch = await rag.create_batch(pool, ACME, store, [rag.NewFile(ids[0])])
    other = (await rag.create_store(pool, ACME)).id
    mine = (await rag.create_store(pool, OTHER)).id
    for scope, store_id, batch_id in (
        (OTHER, store, batch.id),
        (OTHER, mine, batch.id),
        (ACME, other, batch.id),
        (ACME, store, "vsfb_0"),
    ):
        for attempt in (
            rag.get_batch(pool, scope, store_id, batch_id),
            rag.cancel_batch(pool, scope, store_id, batch_id),
            rag.list_batch_files(pool, scope, store_id, batch_id),
        ):
            with pytest.raises(rag.NotFound) as caught:
                await attempt
            assert caught.value.what == "file batch"
    assert (await rag.get_batch(pool, ACME, store, batch.id)).counts.in_progress == 1
