"""What a run does to a store, whatever the source: here a folder."""

import asyncio
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest
from pooler_support import needs_pooler, run_pooler
from support import scope_of
from sync_support import Folder, Kept

import rag
from config.postgres import open_pool
from rag import sync
from rag.errors import NotFound
from rag.sync.folder import FolderReader
from rag.sync.reading import Listing

HANDBOOKS = sync.FolderOrigin("handbooks")


async def test_what_is_new_is_handed_in_with_its_source_and_key(kept: Kept, folder: Folder) -> None:
    folder.put("a.md", "fifteen days")
    folder.put("hr/휴가.md", "연차 15일")
    source = await kept.add(HANDBOOKS)
    run = await kept.run(source)
    assert (run.status, run.complete, run.listed, run.added) == ("completed", True, 2, 2)
    assert await kept.contents() == {"a.md": b"fifteen days", "hr/휴가.md": "연차 15일".encode()}
    names = {file.filename for file in await rag.list_files(kept.pool, scope_of())}
    assert names == {"a.md", "휴가.md"}


async def test_what_is_unchanged_by_its_fingerprint_is_not_read_again(
    kept: Kept, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.put("a.md", "fifteen days", age=1)
    source = await kept.add(HANDBOOKS)
    await kept.run(source)
    monkeypatch.delattr(FolderReader, "_read")
    run = await kept.run(source)
    assert (run.unchanged, run.added, run.changed, run.failed) == (1, 0, 0, 0)


async def test_a_new_time_stamp_alone_is_no_change(kept: Kept, folder: Folder) -> None:
    folder.put("a.md", "fifteen days", age=1)
    source = await kept.add(HANDBOOKS)
    await kept.run(source)
    folder.put("a.md", "fifteen days", age=2)
    assert (await kept.run(source)).unchanged == 1
    assert await kept.files() == 1


async def test_a_change_within_the_time_stamps_resolution_is_seen(
    kept: Kept, folder: Folder
) -> None:
    folder.put("a.md", "fifteen days")
    source = await kept.add(HANDBOOKS)
    await kept.run(source)
    (folder.root / "a.md").write_text("sixteen day!")  # as long as before, at once
    await kept.run(source)
    assert await kept.contents() == {"a.md": b"sixteen day!"}


async def test_a_changed_document_is_searched_in_its_old_version_until_the_new_one_is_read(
    kept: Kept, folder: Folder
) -> None:
    folder.put("a.md", "fifteen days", age=1)
    source = await kept.add(HANDBOOKS)
    await kept.run(source)
    await kept.read()
    folder.put("a.md", "sixteen days", age=2)
    run = await kept.run(source)
    assert run.changed == 1
    assert await kept.searchable() == {"a.md": b"fifteen days"}
    await kept.read()
    assert await kept.searchable() == await kept.contents() == {"a.md": b"sixteen days"}
    assert await kept.files() == 1


async def test_of_two_changes_in_a_row_the_last_one_counts(kept: Kept, folder: Folder) -> None:
    source = await kept.add(HANDBOOKS)
    for age, content in enumerate(("fifteen", "sixteen", "seventeen"), start=1):
        folder.put("a.md", content, age=age)
        await kept.run(source)
        if age == 1:
            await kept.read()
    assert await kept.searchable() == {"a.md": b"fifteen"}
    await kept.read()
    assert await kept.searchable() == await kept.contents() == {"a.md": b"seventeen"}
    assert await kept.files() == 1


async def test_a_change_that_is_taken_back_leaves_what_was_there(
    kept: Kept, folder: Folder
) -> None:
    folder.put("a.md", "fifteen", age=1)
    source = await kept.add(HANDBOOKS)
    await kept.run(source)
    await kept.read()
    folder.put("a.md", "sixteen", age=2)
    await kept.run(source)
    folder.put("a.md", "fifteen", age=3)
    assert (await kept.run(source)).changed == 1
    assert await kept.searchable() == await kept.contents() == {"a.md": b"fifteen"}
    assert await kept.files() == 1


async def test_a_version_that_cant_be_read_leaves_the_one_before(
    kept: Kept, folder: Folder
) -> None:
    folder.put("a.md", "fifteen", age=1)
    source = await kept.add(HANDBOOKS)
    await kept.run(source)
    await kept.read()
    folder.put("a.md", "?", age=2)
    await kept.run(source)
    await kept.read(status="failed")
    await kept.run(source)
    assert await kept.searchable() == {"a.md": b"fifteen"}
    folder.put("a.md", "sixteen", age=3)
    await kept.run(source)
    await kept.read()
    assert await kept.searchable() == await kept.contents() == {"a.md": b"sixteen"}


async def test_what_was_changed_before_it_was_ever_read_is_replaced_at_once(
    kept: Kept, folder: Folder
) -> None:
    folder.put("a.md", "fifteen", age=1)
    source = await kept.add(HANDBOOKS)
    await kept.run(source)
    folder.put("a.md", "sixteen", age=2)
    await kept.run(source)
    assert await kept.contents() == {"a.md": b"sixteen"}
    assert await kept.files() == 1


async def test_what_is_gone_is_removed_with_its_file(kept: Kept, folder: Folder) -> None:
    folder.put("a.md", "fifteen", age=1)
    folder.put("b.md", "sixteen", age=1)
    source = await kept.add(HANDBOOKS)
    await kept.run(source)
    await kept.read()
    folder.take("a.md")
    run = await kept.run(source)
    assert (run.removed, run.unchanged, run.complete) == (1, 1, True)
    assert await kept.contents() == {"b.md": b"sixteen"}
    assert await kept.files() == 1


async def test_a_file_that_another_store_holds_too_stays_there(kept: Kept, folder: Folder) -> None:
    folder.put("a.md", "fifteen", age=1)
    folder.put("b.md", "sixteen", age=1)
    source = await kept.add(HANDBOOKS)
    await kept.run(source)
    other = (await rag.create_store(kept.pool, scope_of())).id
    for file in await rag.list_files(kept.pool, scope_of()):
        await rag.add_file(kept.pool, scope_of(), other, file.id)
    folder.take("a.md")
    await kept.run(source)
    assert len(await kept.contents()) == 1
    assert (await rag.get_store(kept.pool, scope_of(), other)).counts.total == 2


async def test_from_a_source_that_is_empty_all_at_once_nothing_is_removed(
    kept: Kept, folder: Folder
) -> None:
    folder.put("a.md", "fifteen", age=1)
    source = await kept.add(HANDBOOKS)
    await kept.run(source)
    folder.take("a.md")
    run = await kept.run(source)
    assert (run.status, run.complete, run.removed) == ("failed", False, 0)
    assert "nothing is there any more, where 1 documents were" in str(run.reason)
    assert await kept.contents() == {"a.md": b"fifteen"}
    folder.put("a.md", "fifteen", age=2)
    run = await kept.run(source)
    assert (run.complete, run.unchanged) == (True, 1)


async def test_a_document_that_is_there_though_it_was_not_listed_is_not_removed(
    kept: Kept, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.md", "b.md", "c.md"):
        folder.put(name, name, age=1)
    source = await kept.add(HANDBOOKS)
    await kept.run(source)
    whole = FolderReader.list

    async def half(self: FolderReader) -> Listing:
        listing = await whole(self)
        listing.items = {"a.md": listing.items["a.md"]}
        return listing

    monkeypatch.setattr(FolderReader, "list", half)
    run = await kept.run(source)
    assert (run.complete, run.removed) == (False, 0)
    assert "is there and was not listed" in str(run.reason)
    assert set(await kept.contents()) == {"a.md", "b.md", "c.md"}


async def test_a_document_that_fails_is_told_and_tried_again_and_the_others_go_on(
    kept: Kept, folder: Folder
) -> None:
    kept.max_file_bytes = 10
    folder.put("a.md", "fifteen", age=1)
    folder.put("b.md", "far too many days", age=1)
    source = await kept.add(HANDBOOKS)
    run = await kept.run(source)
    assert (run.added, run.failed, run.complete) == (1, 1, True)
    assert (await kept.get(source)).failures == [("b.md", "over the limit of 10 bytes")]
    kept.max_file_bytes = 100
    run = await kept.run(source)
    assert (run.added, run.failed, run.unchanged) == (1, 0, 1)
    assert (await kept.get(source)).failures == []


async def test_a_changed_document_that_cant_be_fetched_stays_as_it_was(
    kept: Kept, folder: Folder
) -> None:
    folder.put("a.md", "fifteen", age=1)
    source = await kept.add(HANDBOOKS)
    await kept.run(source)
    kept.max_file_bytes = 10
    folder.put("a.md", "far too many days", age=2)
    for _ in range(2):
        assert (await kept.run(source)).failed == 1
        assert await kept.contents() == {"a.md": b"fifteen"}
    folder.put("a.md", "fifteen", age=3)
    assert (await kept.run(source)).unchanged == 1
    assert (await kept.get(source)).failures == []


async def test_what_somebody_took_out_comes_back(kept: Kept, folder: Folder) -> None:
    folder.put("a.md", "fifteen", age=1)
    folder.put("b.md", "sixteen", age=1)
    source = await kept.add(HANDBOOKS)
    await kept.run(source)
    one, other = await rag.list_files(kept.pool, scope_of())
    await rag.remove_file(kept.pool, scope_of(), kept.store, one.id)
    await rag.delete_file(kept.pool, scope_of(), other.id)
    assert await kept.contents() == {}
    await kept.run(source)
    assert await kept.contents() == {"a.md": b"fifteen", "b.md": b"sixteen"}
    assert await kept.files() == 2


async def test_a_fault_of_ours_in_one_document_leaves_the_others(
    kept: Kept, folder: Folder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder.put("a.md", "secret", age=1)
    folder.put("b.md", "sixteen", age=1)
    source = await kept.add(HANDBOOKS)
    read = FolderReader._read

    def fault(self: FolderReader, key: str, into: object) -> str:
        if key == "a.md":
            raise KeyError("secret")
        return read(self, key, into)  # type: ignore[arg-type]

    monkeypatch.setattr(FolderReader, "_read", fault)
    run = await kept.run(source)
    assert (run.added, run.failed) == (1, 1)
    assert (await kept.get(source)).failures == [("a.md", "a fault of ours")]
    assert "KeyError at fault" in caplog.text
    assert "secret" not in caplog.text


async def test_two_runs_of_one_source_exclude_each_other(
    kept: Kept, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.put("a.md", "fifteen", age=1)
    source = await kept.add(HANDBOOKS)
    listing, go_on = asyncio.Event(), asyncio.Event()
    whole = FolderReader.list

    async def slow(self: FolderReader) -> Listing:
        listing.set()
        await go_on.wait()
        return await whole(self)

    monkeypatch.setattr(FolderReader, "list", slow)
    first = asyncio.create_task(kept.run(source))
    await listing.wait()
    assert (await kept.run(source)).status == "in_progress"
    go_on.set()
    assert (await first).added == 1
    assert await kept.files() == 1


@needs_pooler
async def test_a_run_behind_a_pooler_leaves_no_lock(
    kept: Kept, folder: Folder, empty_database: str, tmp_path: Path, owner: asyncpg.Connection
) -> None:
    folder.put("a.md", "fifteen", age=1)
    source = await kept.add(HANDBOOKS)
    with run_pooler(empty_database, tmp_path, size=4) as url:
        async with await open_pool(url, size=8) as pooled:
            behind = replace(kept, pool=pooled)
            for added in (1, 0):
                assert (await behind.run(source)).added == added
            # Its connections live on: a lock of theirs would be there for ever.
            locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
            assert await owner.fetchval(f"{locks} AND pid <> pg_backend_pid()") == 0


async def test_a_run_that_lost_its_lock_writes_nothing_more(
    kept: Kept, folder: Folder, owner: asyncpg.Connection
) -> None:
    folder.put("a.md", "fifteen", age=1)
    source = await kept.add(HANDBOOKS)
    listing, go_on = asyncio.Event(), asyncio.Event()
    whole = FolderReader.list

    async def slow(self: FolderReader) -> Listing:
        found = await whole(self)
        listing.set()
        await go_on.wait()
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FolderReader, "list", slow)
        lost = asyncio.create_task(kept.run(source))
        await listing.wait()
    ended = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
    assert await owner.fetch(ended)
    folder.put("a.md", "sixteen", age=2)
    await kept.run(source)
    go_on.set()
    await asyncio.gather(lost, return_exceptions=True)
    assert await kept.contents() == {"a.md": b"sixteen"}
    assert await kept.files() == 1


@pytest.mark.parametrize("what", ["source", "store"])
async def test_a_source_that_is_deleted_while_it_is_read_leaves_nothing_half_done(
    kept: Kept, folder: Folder, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    folder.put("a.md", "fifteen", age=1)
    source = await kept.add(HANDBOOKS)
    whole = FolderReader.list

    async def deleted(self: FolderReader) -> Listing:
        if what == "store":
            await rag.delete_store(kept.pool, scope_of(), kept.store)
        else:
            await sync.delete_source(kept.pool, scope_of(), kept.store, source)
        return await whole(self)

    monkeypatch.setattr(FolderReader, "list", deleted)
    with pytest.raises(NotFound):
        await kept.run(source)
    assert await kept.files() == 0


async def test_a_tenant_that_may_read_there_no_more_keeps_what_it_has_and_is_told(
    kept: Kept, folder: Folder
) -> None:
    folder.put("a.md", "fifteen", age=1)
    source = await kept.add(HANDBOOKS)
    await kept.run(source)
    run = await kept.but(folders={}).run(source)
    assert (run.status, run.complete) == ("failed", False)
    assert "ask the operator to add it to `sync.folders`" in str(run.reason)
    assert await kept.contents() == {"a.md": b"fifteen"}


async def test_too_many_documents_are_no_complete_listing(kept: Kept, folder: Folder) -> None:
    for name in ("a.md", "b.md", "c.md"):
        folder.put(name, name, age=1)
    run = await (bounded := kept.but(max_items=2)).run(await bounded.add(HANDBOOKS))
    assert (run.complete, run.added) == (False, 2)
    assert run.reason == "there are more than 2 documents"


async def test_documents_are_fetched_some_at_a_time(
    kept: Kept, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(7):
        folder.put(f"{number}.md", "x", age=1)
    under_way, most = 0, 0
    fetch = FolderReader.fetch

    async def counted(self: FolderReader, *given: object) -> object:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        try:
            return await fetch(self, *given)  # type: ignore[arg-type]
        finally:
            under_way -= 1

    monkeypatch.setattr(FolderReader, "fetch", counted)
    bounded = kept.but(at_once=3)
    await bounded.run(await bounded.add(HANDBOOKS))
    assert most == 3
