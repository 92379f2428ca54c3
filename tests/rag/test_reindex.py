"""What can be asked for: another model, another chunking, and that it stops."""

import asyncio

import asyncpg
import pytest
from knowledge import job_worker, until_done, upload
from reindex_support import (
    ACME,
    DOCUMENTS,
    Gated,
    assert_counted,
    assert_nothing_else,
    files_in,
    filled,
    live_index,
    models,
    read_again,
    reindex_of,
    sweep,
    until_no_job,
    until_reindexed,
)
from support import scope_of

import rag
from rag import rebuild
from rag.testing import InMemoryEmbedder

SMALL = rag.Chunking(max_tokens=100, overlap_tokens=10)
LONG = "Words are said. " * 100


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuild, "_LOOK_S", 0.05)
    monkeypatch.setattr(rebuild, "_LINGER_S", 0.0)
    monkeypatch.setattr("rag.job_queue._POLL_S", 0.1)


async def chunks_in(owner: asyncpg.Connection, index: int) -> int:
    rows = await owner.fetchval(
        "SELECT sum(chunk_count)::bigint FROM documents WHERE index_id = $1", index
    )
    return int(rows)


async def test_a_store_is_read_with_another_model_and_nothing_is_left_of_the_old_index(
    pool: asyncpg.Pool, owner: asyncpg.Connection, store: str
) -> None:
    await filled(pool, store)
    old, embedders = await live_index(owner, store), models()
    done = await read_again(pool, embedders, store, model="new")
    assert (done.status, done.model, done.failure) == ("completed", "new", None)
    found = await rag.search(pool, embedders, ACME, [store], "annual leave part3", k=3)
    assert found.passages[0].source == "3.md"
    assert found.dense_weight > 0
    assert found.index_ids == (await live_index(owner, store),) != (old,)
    await sweep(pool, owner, embedders)
    await assert_nothing_else(owner, found.index_ids[0])
    await assert_counted(owner, found.index_ids[0])
    dims = await owner.fetch("SELECT DISTINCT vector_dims(embedding) FROM chunk_embeddings")
    assert [row[0] for row in dims] == [32]


async def test_another_chunking_embeds_only_texts_that_are_new_and_is_counted(
    pool: asyncpg.Pool, owner: asyncpg.Connection, store: str
) -> None:
    ids = await filled(pool, store, DOCUMENTS | {"long.md": LONG})
    before = (await rag.get_store(pool, ACME, store)).usage_bytes
    embedders = models()
    done = await read_again(pool, embedders, store, chunking=SMALL)
    assert (done.status, done.model, done.chunking) == ("completed", "old", SMALL)
    asked = embedders.default.asked
    assert asked
    assert all(text.startswith("long.md") for text in asked)
    file = await rag.get_store_file(pool, ACME, store, ids["long.md"])
    assert file.chunks_total == file.chunks_done > 1
    assert (await rag.get_store(pool, ACME, store)).usage_bytes > before
    await assert_counted(owner, await live_index(owner, store))


async def test_a_file_keeps_the_chunking_of_its_own(
    pool: asyncpg.Pool, owner: asyncpg.Connection, store: str
) -> None:
    own = await upload(pool, "own.md", LONG)
    await rag.add_file(pool, ACME, store, rag.NewFile(own.id, chunking=rag.Chunking(4000, 0)))
    await filled(pool, store, {"long.md": LONG})
    await read_again(pool, models(), store, chunking=SMALL)
    counts = await owner.fetch(
        "SELECT filename, chunk_count FROM documents JOIN files f ON f.id = file_id"
        " WHERE index_id = $1",
        await live_index(owner, store),
    )
    found = dict(counts)
    assert found["own.md"] < found["long.md"]


async def test_files_attached_after_the_switch_are_read_with_its_model_and_chunking(
    pool: asyncpg.Pool, owner: asyncpg.Connection, store: str
) -> None:
    await filled(pool, store, {"a.md": LONG})
    embedders = models()
    await read_again(pool, embedders, store, model="new", chunking=SMALL)
    before = await chunks_in(owner, await live_index(owner, store))
    later = await upload(pool, "b.md", LONG)
    await rag.add_file(pool, ACME, store, later.id)
    async with job_worker(pool, embedders):
        await until_done(pool, store)
    assert await files_in(owner, await live_index(owner, store)) == ["a.md", "b.md"]
    assert await chunks_in(owner, await live_index(owner, store)) == 2 * before
    assert not embedders.default.asked
    spaces = await owner.fetch("SELECT space FROM indexes WHERE live")
    assert [row["space"] for row in spaces] == [embedders.others["new"].space]


async def test_what_is_not_given_stays_as_it_is_and_auto_leaves_it_to_us(
    pool: asyncpg.Pool, store: str
) -> None:
    await filled(pool, store, {"a.md": LONG})
    embedders = models()
    await read_again(pool, embedders, store, model="new", chunking=SMALL)
    again = await read_again(pool, embedders, store)
    assert (again.model, again.chunking) == ("new", SMALL)
    automatic = await read_again(pool, embedders, store, chunking="auto")
    assert (automatic.model, automatic.chunking) == ("new", None)


async def test_an_empty_store_takes_the_model_it_is_asked_for(
    pool: asyncpg.Pool, owner: asyncpg.Connection, store: str
) -> None:
    embedders = models()
    assert (await read_again(pool, embedders, store, model="new")).status == "completed"
    await rag.add_file(pool, ACME, store, (await upload(pool, "a.md", "leave")).id)
    async with job_worker(pool, embedders):
        await until_done(pool, store)
    assert embedders.others["new"].asked == ["a.md\nleave"]


async def test_a_model_that_is_not_there_is_refused_with_those_that_are(
    pool: asyncpg.Pool, owner: asyncpg.Connection, store: str
) -> None:
    with pytest.raises(rag.ReindexRefused, match="'bge': the settings have old, new") as refused:
        await rag.start_reindex(pool, models(), ACME, store, model="bge")
    assert (refused.value.code, refused.value.param) == ("model_not_found", "model")
    assert await owner.fetchval("SELECT count(*) FROM indexes") == 1


async def test_of_several_that_start_at_once_one_does(
    pool: asyncpg.Pool, owner: asyncpg.Connection, store: str
) -> None:
    starts = [rag.start_reindex(pool, models(), ACME, store, model="new") for _ in range(4)]
    ends = await asyncio.gather(*starts, return_exceptions=True)
    refused = [end for end in ends if isinstance(end, rag.ReindexRefused)]
    assert [each.code for each in refused] == ["reindex_in_progress"] * 3
    assert await owner.fetchval("SELECT count(*) FROM indexes") == 2
    jobs = "SELECT count(*) FROM pgqueuer WHERE entrypoint = 'reindex'"
    assert await owner.fetchval(jobs) == 1


async def test_anothers_store_is_not_there(pool: asyncpg.Pool, store: str) -> None:
    for call in (
        rag.start_reindex(pool, models(), scope_of("rival"), store),
        rag.cancel_reindex(pool, scope_of("rival"), store),
    ):
        with pytest.raises(rag.NotFound):
            await call


async def test_how_far_it_is_can_be_seen_and_it_can_be_given_up(
    pool: asyncpg.Pool, owner: asyncpg.Connection, store: str
) -> None:
    await filled(pool, store)
    old, gated = await live_index(owner, store), Gated("new", after=2)
    embedders = models(gated)
    await rag.start_reindex(pool, embedders, ACME, store, model="new")
    async with job_worker(pool, embedders), asyncio.timeout(20):
        while (await reindex_of(pool, store)).documents_done != 2:
            await asyncio.sleep(0.02)
        cancelled = await rag.cancel_reindex(pool, ACME, store)
        assert cancelled.reindex is None
        await until_no_job(owner)
        gated.gate.set()
    assert await live_index(owner, store) == old
    await sweep(pool, owner, embedders)
    await assert_nothing_else(owner, old)
    await assert_counted(owner, old)
    assert (await rag.cancel_reindex(pool, ACME, store)).reindex is None


async def test_after_one_that_was_given_up_another_may_start_at_once(
    pool: asyncpg.Pool, owner: asyncpg.Connection, store: str
) -> None:
    await filled(pool, store)
    embedders = models()
    await rag.start_reindex(pool, embedders, ACME, store, model="new")
    await rag.cancel_reindex(pool, ACME, store)
    done = await read_again(pool, embedders, store, chunking=SMALL)
    assert (done.status, done.model) == ("completed", "old")


async def test_a_store_that_is_deleted_meanwhile_leaves_nothing(
    pool: asyncpg.Pool, owner: asyncpg.Connection, store: str
) -> None:
    await filled(pool, store)
    gated = Gated("new", after=2)
    await rag.start_reindex(pool, models(gated), ACME, store, model="new")
    async with job_worker(pool, models(gated)):
        await gated.reached.wait()
        await rag.delete_store(pool, ACME, store)
        gated.gate.set()
        async with asyncio.timeout(20):
            while await owner.fetchval(
                "SELECT count(*) FROM pgqueuer WHERE entrypoint = 'reindex'"
            ):
                await asyncio.sleep(0.02)
    for table in ("indexes", "documents", "chunks", "chunk_terms", "lexicon"):
        assert await owner.fetchval(f"SELECT count(*) FROM {table}") == 0


async def test_a_store_that_was_read_with_a_model_of_before_gets_the_default(
    pool: asyncpg.Pool, store: str
) -> None:
    await filled(pool, store)
    embedders = models(old=InMemoryEmbedder(model="newest"))
    await rag.start_reindex(pool, embedders, ACME, store)
    async with job_worker(pool, embedders):
        assert (await until_reindexed(pool, store)).model == "newest"
    found = await rag.search(pool, embedders, ACME, [store], "annual leave", k=1)
    assert found.dense_weight > 0
