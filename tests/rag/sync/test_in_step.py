"""Whatever happens to a source: after a complete run the store equals it, and nothing that is
still there is ever removed.
"""

import shutil
import tempfile
from pathlib import Path

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import scope_of
from sync_support import Folder, Kept

import rag
from config.sync import SyncSettings
from rag import sync
from rag.sync.folder import FolderReader
from rag.sync.reading import Listing, NotFetched, Spool

KEYS = ("a.md", "b.md", "hr/c.md", "hr/휴가.md")

steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from(KEYS), st.sampled_from(["x", "yy", "zzz"])),
        st.tuples(st.just("take"), st.sampled_from(KEYS), st.just("")),
        st.tuples(st.just("read"), st.just(""), st.sampled_from(["completed", "failed"])),
        st.tuples(
            st.just("run"),
            st.sampled_from(KEYS),
            st.sampled_from(["", "", "", "listing ends", "listing lacks", "fetch fails"]),
        ),
    ),
    min_size=1,
    max_size=25,
)


class Faulty:
    """A folder's reader with the fault of one run."""

    def __init__(self, patch: pytest.MonkeyPatch, fault: str, key: str) -> None:
        whole, fetch = FolderReader.list, FolderReader.fetch

        async def listing(reader: FolderReader) -> Listing:
            found = await whole(reader)
            if fault.startswith("listing"):
                found.items.pop(key, None)
                found.incomplete = "it broke off" if fault == "listing ends" else None
            return found

        async def fetching(reader: FolderReader, item: object, known: str, into: Spool) -> object:
            if fault == "fetch fails" and item.key == key:  # type: ignore[attr-defined]
                raise NotFetched("it is away")
            return await fetch(reader, item, known, into)  # type: ignore[arg-type]

        patch.setattr(FolderReader, "list", listing)
        patch.setattr(FolderReader, "fetch", fetching)


@given(story=steps)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_a_store_is_in_step_with_its_source(
    pool: asyncpg.Pool, story: list[tuple[str, str, str]]
) -> None:
    root = Path(tempfile.mkdtemp())
    try:
        await play(pool, Folder(root), story)
    finally:
        shutil.rmtree(root)


async def play(pool: asyncpg.Pool, folder: Folder, story: list[tuple[str, str, str]]) -> None:
    store = (await rag.create_store(pool, scope_of())).id
    place = {"path": str(folder.root), "tenants": ["acme"]}
    kept = Kept(pool, store, SyncSettings.model_validate({"folders": {"handbooks": place}}))
    source = await kept.add(sync.FolderOrigin("handbooks"))
    there: dict[str, str] = {}
    for age, (step, key, what) in enumerate(story, start=1):
        if step == "put":
            folder.put(key, what, age=age)
            there[key] = what
        elif step == "take" and key in there:
            folder.take(key)
            del there[key]
        elif step == "read":
            await kept.read(status=what)
        elif step == "run":
            await run(kept, source, there, key, what)
    await run(kept, source, there, "", "")
    await rag.delete_store(pool, scope_of(), store)


async def run(kept: Kept, source: str, there: dict[str, str], key: str, fault: str) -> None:
    before, searched = await kept.newest(source), await kept.searchable()
    with pytest.MonkeyPatch.context() as patch:
        Faulty(patch, fault, key)
        found = await kept.run(source)
    newest = await kept.newest(source)
    assert found.complete or fault.startswith("listing") or (before and not there)
    wanted = {name: content.encode() for name, content in there.items()}
    # A listing that lacks what never was there before can't be told from a whole one.
    if found.complete and not found.failed and fault != "listing lacks":
        assert newest == wanted
    for name in there:  # nothing that is there is removed, and what is searched stays so
        assert name in newest or name not in before
        assert name in await kept.searchable() or name not in searched
    if not found.complete:
        assert set(before) <= set(newest)
