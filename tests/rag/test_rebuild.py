"""Whatever happens while an index is built: searches see the old one or the new one, whole."""

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg
import pytest
from knowledge import job_worker, until_done, upload
from large_store import LargeStore, grow
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
    until_reindexed,
)

import rag
from config.postgres import open_pool
from config.settings import RetrievalSettings
from rag import documents, job_queue, prepare, rebuild
from rag.embedding_wire import Kind, Vector
from rag.jobs import Job
from rag.parse.apart import open_parser
from rag.testing import InMemoryEmbedder

SHORT = RetrievalSettings(chunk_tokens=64)


class Absent(InMemoryEmbedder):
    """Can't be reached the first times."""

    def __init__(self, times: int) -> None:
        super().__init__(model="new")
        self.times = times

    async def embed(self, texts: Sequence[str], kind: Kind = "document") -> list[Vector]:
        if self.times:
            self.times -= 1
            raise rag.EmbedderUnavailable("gone")
        return await super().embed(texts, kind)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuild, "_LOOK_S", 0.05)
    monkeypatch.setattr(rebuild, "_LINGER_S", 0.0)
    monkeypatch.setattr(rebuild, "_PAUSE_S", 0.01)
    monkeypatch.setattr(prepare, "_PAUSE_S", 0.01)
    monkeypatch.setattr(job_queue, "_PAUSE_S", 0.01)
    monkeypatch.setattr(job_queue, "_POLL_S", 0.1)


async def assert_whole(owner: asyncpg.Connection, store: str, names: Sequence[str]) -> None:
    """The live index holds these documents once, and nothing else is left."""
    index = await live_index(owner, store)
    assert await files_in(owner, index) == sorted(names)
    await assert_counted(owner, index)
    await assert_nothing_else(owner, index)


async def test_searches_see_one_index_whole_before_and_the_other_after(
    pool: asyncpg.Pool, owner: asyncpg.Connection, store: str
) -> None:
    await filled(pool, store)
    embedders, seen = models(), []
    await rag.start_reindex(pool, embedders, ACME, store, model="new")

    async def ask() -> None:
        while not seen or len({each.index_ids for each in seen}) == 1 or len(seen) < 20:
            seen.append(await rag.search(pool, embedders, ACME, [store], "annual leave", k=9))

    async with job_worker(pool, embedders), asyncio.timeout(60):
        await asyncio.gather(ask(), ask(), until_reindexed(pool, store))
    for found in seen:
        assert {passage.source for passage in found.passages} == set(DOCUMENTS)
        assert len(found.passages) == len(DOCUMENTS)
        assert all(passage.similarity is not None for passage in found.passages)
    assert len({found.index_ids for found in seen}) == 2
    await sweep(pool, owner, embedders)
    await assert_whole(owner, store, list(DOCUMENTS))


@pytest.mark.parametrize("removed", [False, True])
async def test_a_search_that_began_before_the_switch_finds_everything_once(
    pool: asyncpg.Pool, owner: asyncpg.Connection, store: str, *, removed: bool
) -> None:
    await filled(pool, store)
    before, gated = await live_index(owner, store), Gated("old")
    searching = asyncio.create_task(
        rag.search(pool, models(old=gated), ACME, [store], "annual leave part2", k=9)
    )
    await gated.reached.wait()
    await read_again(pool, models(), store, model="new")
    if removed:
        await sweep(pool, owner, models())
    gated.gate.set()
    found = await searching
    assert found.index_ids == (await live_index(owner, store),) != (before,)
    assert sorted(passage.source for passage in found.passages) == sorted(DOCUMENTS)
    assert found.dense_weight > 0


async def test_files_that_come_and_go_meanwhile_are_in_the_new_index_or_not(
    pool: asyncpg.Pool, owner: asyncpg.Connection, store: str
) -> None:
    ids = await filled(pool, store)
    gated = Gated("new", after=2)
    embedders = models(gated)
    await rag.start_reindex(pool, embedders, ACME, store, model="new")
    async with job_worker(pool, embedders):
        await gated.reached.wait()
        await rag.add_file(pool, ACME, store, (await upload(pool, "late.md", "late leave")).id)
        await until_done(pool, store)
        await rag.remove_file(pool, ACME, store, ids["1.md"])
        await rag.delete_file(pool, ACME, ids["2.md"])
        found = await rag.search(pool, embedders, ACME, [store], "late", k=9)
        assert found.passages[0].source == "late.md"
        assert (await reindex_of(pool, store)).status == "in_progress"
        gated.gate.set()
        assert (await until_reindexed(pool, store)).status == "completed"
    await sweep(pool, owner, embedders)
    await assert_whole(owner, store, ["0.md", "3.md", "4.md", "late.md"])


async def test_files_that_come_and_go_all_the_time(
    pool: asyncpg.Pool, owner: asyncpg.Connection, store: str
) -> None:
    await filled(pool, store)
    embedders, kept = models(), set(DOCUMENTS)
    await rag.start_reindex(pool, embedders, ACME, store, model="new")
    async with job_worker(pool, embedders):
        for n in range(12):
            file = await upload(pool, f"new {n}.md", f"annual leave of the year {n}")
            await rag.add_file(pool, ACME, store, file.id)
            if n % 3:
                kept.add(f"new {n}.md")
            else:
                await rag.remove_file(pool, ACME, store, file.id)
        await until_done(pool, store)
        await until_reindexed(pool, store)
    await sweep(pool, owner, embedders)
    await assert_whole(owner, store, list(kept))


async def test_a_worker_that_ends_in_the_middle_loses_and_doubles_nothing(
    pool: asyncpg.Pool,
    owner: asyncpg.Connection,
    store: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rebuild, "_DOCUMENTS_AT_ONCE", 1)
    monkeypatch.setattr(prepare, "_EMBED_BATCH", 4)
    long = "\n\n".join(f"## Part {n}\n\n" + f"Words {n} are said. " * 5 for n in range(20))
    every = DOCUMENTS | {"book.md": long}
    await filled(pool, store, every)
    stuck = Gated("new", after=len(DOCUMENTS) + 8)
    await rag.start_reindex(pool, models(stuck), ACME, store, model="new")
    async with job_worker(pool, models(stuck), SHORT):
        await stuck.reached.wait()
    assert (await reindex_of(pool, store)).documents_done == len(DOCUMENTS)
    assert await owner.fetchval("SELECT attempts FROM indexes WHERE NOT live") == 0
    new = InMemoryEmbedder(model="new")
    async with job_worker(pool, models(new), SHORT):
        assert (await until_reindexed(pool, store)).status == "completed"
    assert len(new.asked) == 12
    assert not set(new.asked) & set(stuck.asked)
    await sweep(pool, owner, models(new))
    await assert_whole(owner, store, list(every))


async def test_postgresql_hanging_up_in_the_middle(
    pool: asyncpg.Pool, owner: asyncpg.Connection, store: str
) -> None:
    await filled(pool, store)
    gated = Gated("new", after=2)
    embedders = models(gated)
    await rag.start_reindex(pool, embedders, ACME, store, model="new")
    async with job_worker(pool, embedders):
        await gated.reached.wait()
        await owner.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'naru'"
        )
        gated.gate.set()
        async with asyncio.timeout(30):
            while await owner.fetchval("SELECT count(*) FROM indexes WHERE state = 'building'"):
                await asyncio.sleep(0.02)
    await sweep(pool, owner, embedders)
    await assert_whole(owner, store, list(DOCUMENTS))


async def test_two_that_build_one_index_double_nothing(
    pool: asyncpg.Pool, owner: asyncpg.Connection, store: str, empty_database: str
) -> None:
    await filled(pool, store)
    embedders, settings = models(), RetrievalSettings()
    await rag.start_reindex(pool, embedders, ACME, store, model="new")
    job = Job("acme", {"index": await owner.fetchval("SELECT id FROM indexes WHERE NOT live")})
    async with (
        open_parser() as parser,
        await open_pool(empty_database, size=12, role="naru_jobs") as jobs,
    ):
        preparer = prepare.Preparer(jobs, parser, settings)
        both = rebuild.Rebuilder(jobs, embedders, preparer, settings)
        await asyncio.gather(both.build(job), both.build(job))
    await sweep(pool, owner, embedders)
    await assert_whole(owner, store, list(DOCUMENTS))


async def test_a_document_that_can_not_be_read_any_more_leaves_the_live_index_alone(
    pool: asyncpg.Pool,
    owner: asyncpg.Connection,
    store: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rebuild, "_DOCUMENTS_AT_ONCE", 1)
    ids = await filled(pool, store)
    old, embedders = await live_index(owner, store), models()
    damage = "UPDATE file_parts SET content = $2 WHERE file_id = $1"
    await owner.execute(damage, ids["3.md"], b"")
    failed = await read_again(pool, embedders, store, model="new")
    assert failed.status == "failed"
    assert failed.failure
    assert failed.failure.startswith(f"the file '{ids['3.md']}' can't be read again: ")
    assert await live_index(owner, store) == old
    found = await rag.search(pool, embedders, ACME, [store], "annual leave", k=9)
    assert len(found.passages) == len(DOCUMENTS)
    await owner.execute(damage, ids["3.md"], DOCUMENTS["3.md"].encode())
    assert (await read_again(pool, embedders, store, model="new")).status == "completed"
    asked = embedders.others["new"].asked
    assert len([text for text in asked if "\n" in text]) == len(DOCUMENTS)
    await sweep(pool, owner, embedders)
    await assert_whole(owner, store, list(DOCUMENTS))


async def test_after_a_failure_another_way_to_read_begins_anew(
    pool: asyncpg.Pool, owner: asyncpg.Connection, store: str
) -> None:
    ids = await filled(pool, store)
    await owner.execute("UPDATE file_parts SET content = '' WHERE file_id = $1", ids["3.md"])
    embedders = models()
    assert (await read_again(pool, embedders, store, model="new")).status == "failed"
    await rag.remove_file(pool, ACME, store, ids["3.md"])
    again = await read_again(pool, embedders, store, chunking=rag.Chunking(100, 0))
    assert (again.status, again.model) == ("completed", "old")
    await sweep(pool, owner, embedders)
    await assert_whole(owner, store, ["0.md", "1.md", "2.md", "4.md"])


async def test_a_model_that_is_taken_out_of_the_settings_is_told(
    pool: asyncpg.Pool, owner: asyncpg.Connection, store: str
) -> None:
    await filled(pool, store)
    await rag.start_reindex(pool, models(), ACME, store, model="new")
    async with job_worker(pool, InMemoryEmbedder(model="old")):
        failed = await until_reindexed(pool, store)
    assert failed.failure == "the embedding model 'new' is not in the settings any more"


async def test_an_absent_model_is_waited_for(pool: asyncpg.Pool, store: str) -> None:
    await filled(pool, store)
    absent = Absent(times=20)
    assert (await read_again(pool, models(absent), store, model="new")).status == "completed"
    assert not absent.times


async def test_a_fault_of_ours_three_times_is_a_failure_and_leaves_no_half_document(
    pool: asyncpg.Pool,
    owner: asyncpg.Connection,
    store: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await filled(pool, store)

    async def fail(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(documents, "count_document", fail)
        failed = await read_again(pool, models(), store, model="new")
    assert failed.failure == "reading a document again has failed three times"
    assert failed.documents_done == 0
    assert (await read_again(pool, models(), store, model="new")).status == "completed"


async def test_an_index_whose_job_was_lost_is_built_all_the_same(
    pool: asyncpg.Pool, owner: asyncpg.Connection, store: str
) -> None:
    await filled(pool, store)
    embedders = models()
    await rag.start_reindex(pool, embedders, ACME, store, model="new")
    await owner.execute("DELETE FROM pgqueuer")
    await sweep(pool, owner, embedders)
    async with job_worker(pool, embedders):
        assert (await until_reindexed(pool, store)).status == "completed"


async def test_what_was_replaced_is_removed_in_steps_beside_who_else_removes(
    pool: asyncpg.Pool, owner: asyncpg.Connection, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuild, "_REMOVED", 2)
    ids = await filled(pool, store)
    embedders = models()
    await read_again(pool, embedders, store, model="new")
    await asyncio.gather(
        sweep(pool, owner, embedders),
        *(rag.remove_file(pool, ACME, store, ids[name]) for name in ("1.md", "3.md")),
    )
    await assert_whole(owner, store, ["0.md", "2.md", "4.md"])


async def test_a_bucket_that_is_away_is_waited_for(
    pool: asyncpg.Pool, owner: asyncpg.Connection, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuild, "_BUCKET_AWAY_S", 0.01)
    await filled(pool, store)
    prepared = prepare.Preparer.prepare
    away = [rag.FilesUnavailable("the bucket is away")] * 30

    async def prepare_later(*arguments: Any) -> list[documents.Row]:
        if away:
            raise away.pop()
        return await prepared(*arguments)

    monkeypatch.setattr(prepare.Preparer, "prepare", prepare_later)
    assert (await read_again(pool, models(), store, model="new")).status == "completed"
    assert not away


async def test_large_indexes_with_partitions_of_their_own_are_switched_and_dropped(
    pool: asyncpg.Pool, owner: asyncpg.Connection, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuild, "_DOCUMENTS_AT_ONCE", 1)
    await filled(pool, store)
    await grow(pool, LargeStore(store, await live_index(owner, store), len(DOCUMENTS)))
    shard = await owner.fetchval("SELECT shard FROM indexes")
    gated = Gated("new", after=3)
    embedders = models(gated)
    await rag.start_reindex(pool, embedders, ACME, store, model="new")
    new = await owner.fetchval("SELECT id FROM indexes WHERE NOT live")
    async with job_worker(pool, embedders):
        await gated.reached.wait()
        await grow(pool, LargeStore(store, new, len(DOCUMENTS)))
        gated.gate.set()
        await until_reindexed(pool, store)
    found = await rag.search(pool, embedders, ACME, [store], "annual leave", k=9)
    assert {passage.source for passage in found.passages} == set(DOCUMENTS)
    await sweep(pool, owner, embedders)
    async with job_worker(pool, embedders), asyncio.timeout(20):
        while await owner.fetchval("SELECT to_regclass('chunk_terms_' || $1)", str(shard)):
            await asyncio.sleep(0.02)
    await assert_whole(owner, store, list(DOCUMENTS))
    assert await owner.fetchval("SELECT shard FROM indexes") not in (0, shard)
