"""What has expired is not there, and then removed."""

import asyncpg
import pytest
from knowledge import fill, parts_of, upload
from support import scope_of

import rag
from config.postgres import open_pool
from rag.expiry import Expiry
from rag.testing import InMemoryEmbedder

ACME = scope_of("acme")


async def sweep(empty_database: str) -> None:
    async with await open_pool(empty_database, size=2, role="naru_jobs") as jobs:
        await Expiry(jobs).sweep()


async def let_pass(owner: asyncpg.Connection, days: int) -> None:
    await owner.execute(
        f"UPDATE vector_stores SET last_active_at = last_active_at - {days} * interval '1 day'"
    )
    await owner.execute(f"UPDATE files SET expires_at = expires_at - {days} * interval '1 day'")


async def short_lived(pool: asyncpg.Pool, name: str) -> rag.StoredFile:
    return await rag.create_file(
        pool, ACME, filename=name, purpose="assistants", parts=parts_of(b"x"), expires_after_s=3600
    )


async def test_an_expired_file_is_missing_at_once(
    pool: asyncpg.Pool, owner: asyncpg.Connection, store: str
) -> None:
    file = await short_lived(pool, "a.md")
    assert file.expires_at is not None
    assert (file.expires_at - file.created_at).total_seconds() == pytest.approx(3600, abs=1)
    await rag.get_file(pool, ACME, file.id)
    await let_pass(owner, 1)
    assert await rag.list_files(pool, ACME) == []
    for attempt in (
        rag.get_file(pool, ACME, file.id),
        rag.delete_file(pool, ACME, file.id),
        rag.add_file(pool, ACME, store, file.id),
        anext(rag.read_file(pool, ACME, file.id)),
        rag.list_files(pool, ACME, rag.Cursor(after=file.id)),
    ):
        with pytest.raises(rag.NotFound):
            await attempt


async def test_expired_files_are_removed_with_what_was_read_from_them(
    pool: asyncpg.Pool,
    owner: asyncpg.Connection,
    store: str,
    embedder: InMemoryEmbedder,
    empty_database: str,
) -> None:
    await fill(pool, embedder, store, {"old.md": "annual leave", "new.md": "annual bonus"})
    await owner.execute("UPDATE files SET expires_at = clock_timestamp() WHERE filename = 'old.md'")
    await short_lived(pool, "later.md")
    await sweep(empty_database)
    assert await owner.fetchval("SELECT count(*) FROM files") == 2
    found = await rag.search(pool, embedder, ACME, [store], "annual leave", k=5)
    assert [passage.source for passage in found.passages] == ["new.md"]
    assert (await rag.get_store(pool, ACME, store)).counts.total == 1


async def test_an_expired_store_can_be_seen_and_deleted_and_nothing_else(
    pool: asyncpg.Pool,
    owner: asyncpg.Connection,
    embedder: InMemoryEmbedder,
    empty_database: str,
) -> None:
    store = (await rag.create_store(pool, ACME, expires_after_days=7)).id
    files = await fill(pool, embedder, store, {"a.md": "annual leave"})
    batch = await rag.create_batch(pool, ACME, store, [rag.NewFile(files["a.md"].id)])
    await let_pass(owner, 6)
    before = await rag.get_store(pool, ACME, store)
    assert not before.expired
    await let_pass(owner, 1)
    for swept in (False, True):
        if swept:
            await sweep(empty_database)
        for attempt in (
            rag.search(pool, embedder, ACME, [store], "annual", k=1),
            rag.add_file(pool, ACME, store, files["a.md"].id),
            rag.create_batch(pool, ACME, store, [rag.NewFile(files["a.md"].id)]),
            rag.update_store(pool, ACME, store, name="again", expires_after_days=0),
            rag.update_attributes(pool, ACME, store, files["a.md"].id, {}),
        ):
            with pytest.raises(rag.StoreExpired, match="has expired"):
                await attempt
        found = await rag.get_store(pool, ACME, store)
        assert found.expired
        assert found.counts.total == (0 if swept else 1)
        assert [each.id for each in await rag.list_stores(pool, ACME)] == [store]
    for table in ("store_files", "indexes", "documents", "chunks", "chunk_terms", "lexicon"):
        assert await owner.fetchval(f"SELECT count(*) FROM {table}") == 0, table
    assert (await rag.get_batch(pool, ACME, store, batch.id)).counts.total == 0
    await rag.get_file(pool, ACME, files["a.md"].id)
    await sweep(empty_database)
    await rag.delete_store(pool, ACME, store)


async def test_a_store_lives_as_long_as_it_is_used(
    pool: asyncpg.Pool,
    owner: asyncpg.Connection,
    embedder: InMemoryEmbedder,
    empty_database: str,
) -> None:
    store = (await rag.create_store(pool, ACME, expires_after_days=7)).id
    file = await upload(pool, "a.md", "annual leave")
    uses = (
        lambda: rag.add_file(pool, ACME, store, file.id),
        lambda: rag.update_store(pool, ACME, store, name="used"),
        lambda: rag.update_attributes(pool, ACME, store, file.id, {"year": 2026}),
        lambda: rag.search(pool, embedder, ACME, [store], "annual", k=1),
    )
    for use in uses:
        await let_pass(owner, 6)
        idle = await rag.get_store(pool, ACME, store)
        await use()
        used = await rag.get_store(pool, ACME, store)
        assert (used.last_active_at - idle.last_active_at).days == 6
        assert used.expires_at is not None
        assert (used.expires_at - used.last_active_at).days == 7
    await sweep(empty_database)
    assert (await rag.get_store(pool, ACME, store)).counts.total == 1


async def test_what_never_expires_is_kept(
    pool: asyncpg.Pool, owner: asyncpg.Connection, empty_database: str
) -> None:
    store = (await rag.create_store(pool, ACME, expires_after_days=1)).id
    await rag.update_store(pool, ACME, store, expires_after_days=0)
    await upload(pool, "a.md", "text")
    await let_pass(owner, 400)
    await sweep(empty_database)
    kept = await rag.get_store(pool, ACME, store)
    assert (kept.expired, kept.expires_at, kept.expires_after_days) == (False, None, None)
    assert len(await rag.list_files(pool, ACME)) == 1
