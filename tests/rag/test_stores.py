"""Stores, and the files in them."""

import asyncpg
import pytest
from knowledge import fill, job_worker, until_done, upload
from support import scope_of

import rag
from rag.testing import InMemoryEmbedder

ACME, OTHER = scope_of("acme"), scope_of("other")


async def test_a_store_comes_back(pool: asyncpg.Pool) -> None:
    made = await rag.create_store(pool, ACME, name="규정\0\ud800", metadata={"팀": "인사\0"})
    assert await rag.get_store(pool, ACME, made.id) == made
    assert made.name == "규정\ufffd?"
    assert made.metadata == {"팀": "인사\ufffd"}
    assert made.counts == rag.FileCounts(0, 0, 0, 0)


async def test_lists_go_on_behind_a_store(pool: asyncpg.Pool) -> None:
    ids = [(await rag.create_store(pool, ACME, name=str(n))).id for n in range(4)]
    newest = await rag.list_stores(pool, ACME, rag.Cursor(3))
    rest = await rag.list_stores(pool, ACME, rag.Cursor(after=newest[-1].id))
    assert [store.id for store in newest + rest] == ids[::-1]
    oldest = await rag.list_stores(pool, ACME, rag.Cursor(2, after=ids[0], order="asc"))
    assert [store.id for store in oldest] == ids[1:3]


async def test_files_are_counted_by_status(
    pool: asyncpg.Pool, store: str, embedder: InMemoryEmbedder
) -> None:
    await fill(pool, embedder, store, {"a.md": "annual leave", "b.md": "", "c.md": "more"})
    waiting = await upload(pool, "d.md", "not read yet")
    attached = await rag.add_file(pool, ACME, store, waiting.id)
    assert (attached.status, attached.last_error) == ("in_progress", None)
    found = await rag.get_store(pool, ACME, store)
    assert found.counts == rag.FileCounts(in_progress=1, completed=2, failed=1, cancelled=0)
    assert found.counts.total == 4
    assert found.usage_bytes == len("annual leave") + len("more")


async def test_lists_of_files_go_on_behind_a_file(pool: asyncpg.Pool, store: str) -> None:
    ids = [(await upload(pool, f"{n}.md", "text")).id for n in range(3)]
    for id_ in ids:
        await rag.add_file(pool, ACME, store, id_)
    newest = await rag.list_store_files(pool, ACME, store, rag.Cursor(1))
    rest = await rag.list_store_files(pool, ACME, store, rag.Cursor(after=newest[0].id))
    assert [file.id for file in newest + rest] == ids[::-1]
    oldest = await rag.list_store_files(pool, ACME, store, rag.Cursor(after=ids[0], order="asc"))
    assert [file.id for file in oldest] == ids[1:]


async def test_attaching_again_changes_nothing_but_a_failure(
    pool: asyncpg.Pool, owner: asyncpg.Connection, store: str, embedder: InMemoryEmbedder
) -> None:
    files = await fill(pool, embedder, store, {"good.md": "annual leave", "bad.md": ""})
    again = await rag.add_file(pool, ACME, store, files["good.md"].id)
    assert again == files["good.md"]
    retried = await rag.add_file(pool, ACME, store, files["bad.md"].id)
    assert (retried.status, retried.last_error) == ("in_progress", None)
    async with job_worker(pool, embedder):
        await until_done(pool, store)
    assert await owner.fetchval("SELECT count(*) FROM chunks") == 1


async def test_removing_a_file_keeps_the_file(
    pool: asyncpg.Pool, store: str, embedder: InMemoryEmbedder
) -> None:
    files = await fill(pool, embedder, store, {"a.md": "annual leave"})
    id_ = files["a.md"].id
    await rag.remove_file(pool, ACME, store, id_)
    assert (await rag.search(pool, embedder, ACME, [store], "annual", k=1)).passages == ()
    assert (await rag.get_file(pool, ACME, id_)).id == id_
    with pytest.raises(rag.NotFound):
        await rag.remove_file(pool, ACME, store, id_)


async def test_deleting_a_store_leaves_no_row(
    pool: asyncpg.Pool, owner: asyncpg.Connection, store: str, embedder: InMemoryEmbedder
) -> None:
    await fill(pool, embedder, store, {"a.md": "annual leave"})
    await rag.delete_store(pool, ACME, store)
    tables = ("store_files", "indexes", "documents", "chunks", "chunk_terms", "chunk_embeddings")
    for table in (*tables, "lexicon"):
        assert await owner.fetchval(f"SELECT count(*) FROM {table}") == 0
    assert len(await rag.list_files(pool, ACME)) == 1


async def test_another_tenant_finds_nothing(pool: asyncpg.Pool, store: str) -> None:
    own = await upload(pool, "own.md", "text", tenant="other")
    foreign = await upload(pool, "a.md", "text", tenant="acme")
    await rag.add_file(pool, ACME, store, foreign.id)
    mine = await rag.create_store(pool, OTHER, name="mine")
    for attempt in (
        rag.get_store(pool, OTHER, store),
        rag.delete_store(pool, OTHER, store),
        rag.add_file(pool, OTHER, store, own.id),
        rag.add_file(pool, OTHER, mine.id, foreign.id),
        rag.get_store_file(pool, OTHER, store, foreign.id),
        rag.list_store_files(pool, OTHER, store),
        rag.remove_file(pool, OTHER, store, foreign.id),
        rag.list_stores(pool, OTHER, rag.Cursor(after=store)),
    ):
        with pytest.raises(rag.NotFound):
            await attempt
    assert [found.id for found in await rag.list_stores(pool, OTHER)] == [mine.id]
    assert (await rag.get_store(pool, ACME, store)).counts.total == 1
