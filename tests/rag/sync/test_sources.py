"""What is kept of a source, and what deleting one leaves."""

import asyncpg
import pytest
from support import scope_of
from sync_support import Folder, Kept

import rag
from rag import sync
from rag.errors import NotFound, SourceRefused, StoreExpired
from rag.sync import sources as sources_module

HANDBOOKS = sync.FolderOrigin("handbooks")


@pytest.mark.parametrize("remove_files", [True, False])
async def test_deleting_a_source_leaves_its_documents_unless_told(
    kept: Kept, folder: Folder, *, remove_files: bool
) -> None:
    folder.put("a.md", "fifteen", age=1)
    source = await kept.add(HANDBOOKS)
    await kept.run(source)
    await kept.read()
    folder.put("a.md", "sixteen", age=2)
    await kept.run(source)
    await sync.delete_source(kept.pool, scope_of(), kept.store, source, remove_files=remove_files)
    with pytest.raises(NotFound):
        await kept.get(source)
    assert await kept.searchable() == ({} if remove_files else {"a.md": b"fifteen"})
    assert await kept.files() == (0 if remove_files else 2)


async def test_a_store_has_a_bounded_number_of_sources(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources_module, "MAX_SOURCES", 2)
    made = [await kept.add(HANDBOOKS) for _ in range(2)]
    with pytest.raises(SourceRefused, match="at most 2 sources"):
        await kept.add(HANDBOOKS)
    listed = await sync.list_sources(kept.pool, scope_of(), kept.store)
    assert [source.id for source in listed] == made


async def test_of_an_expired_store_nothing_is_read(
    kept: Kept, folder: Folder, owner: asyncpg.Connection
) -> None:
    folder.put("a.md", "fifteen", age=1)
    source = await kept.add(HANDBOOKS)
    await rag.update_store(kept.pool, scope_of(), kept.store, expires_after_days=1)
    await owner.execute("UPDATE vector_stores SET last_active_at = now() - interval '2 days'")
    run = await kept.run(source)
    assert (run.status, run.added) == ("failed", 0)
    assert "has expired" in str(run.reason)
    with pytest.raises(StoreExpired):
        await kept.add(HANDBOOKS)


async def test_a_schedule_counts_from_the_last_run(kept: Kept, folder: Folder) -> None:
    folder.put("a.md", "fifteen", age=1)
    source = await kept.add(HANDBOOKS)
    await kept.run(source)

    async def reschedule(schedule: sync.Schedule | None) -> sync.Source:
        change = sync.Change(schedule=schedule, reschedule=True)
        return await sync.update_source(
            kept.pool, scope_of(), kept.store, source, change, settings=kept.settings
        )

    found = await reschedule("daily")
    assert found.due_at
    assert found.last_run
    assert (found.due_at - found.last_run.started_at).total_seconds() == 24 * 3600
    assert (await reschedule(None)).due_at is None


async def test_no_secret_is_kept_with_a_source(kept: Kept, owner: asyncpg.Connection) -> None:
    place = {"bucket": "docs", "access_key": "AKIA1", "secret": "hush", "tenants": ["acme"]}
    await kept.but(buckets={"docs": place}).add(sync.BucketOrigin("docs", "hr"))
    row = await owner.fetchval("SELECT row_to_json(s)::text FROM sources s")
    assert '"bucket": "docs"' in row
    assert "AKIA1" not in row
    assert "hush" not in row
