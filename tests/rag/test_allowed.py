"""What a caller that is limited to some vector stores reaches of files, stores and search."""

from dataclasses import replace

import asyncpg
import pytest
from knowledge import fill, parts_of, upload
from support import scope_of

import rag
from config.scope import Allowed, TenantScope
from rag.store_files import read_content
from rag.testing import InMemoryEmbedder

ACME = scope_of("acme", "app")


def limited_to(*stores: str, client: str = "limited") -> TenantScope:
    return replace(ACME, client=client, allowed=Allowed(vector_stores=frozenset(stores)))


@pytest.fixture
async def other(pool: asyncpg.Pool, store: str, embedder: InMemoryEmbedder) -> str:
    """A second store; each of the two holds a document of its own."""
    second = (await rag.create_store(pool, ACME, name="other")).id
    await fill(pool, embedder, store, {"mine.md": "annual leave"})
    await fill(pool, embedder, second, {"theirs.md": "annual bonus"})
    return second


async def ids(pool: asyncpg.Pool, caller: TenantScope) -> dict[str, str]:
    return {file.filename: file.id for file in await rag.list_files(pool, caller)}


async def test_other_stores_are_not_there(
    pool: asyncpg.Pool, store: str, other: str, embedder: InMemoryEmbedder
) -> None:
    caller = limited_to(store)
    theirs = (await ids(pool, ACME))["theirs.md"]
    batch = await rag.create_batch(pool, ACME, other, [rag.NewFile(theirs)])
    assert [found.id for found in await rag.list_stores(pool, caller)] == [store]
    assert (await rag.get_store(pool, caller, store)).id == store
    for missing in (other, "vs_0"):
        for attempt in (
            rag.get_store(pool, caller, missing),
            rag.delete_store(pool, caller, missing),
            rag.add_file(pool, caller, missing, theirs),
            rag.get_store_file(pool, caller, missing, theirs),
            rag.list_store_files(pool, caller, missing),
            rag.remove_file(pool, caller, missing, theirs),
            rag.update_store(pool, caller, missing, name="mine"),
            rag.update_attributes(pool, caller, missing, theirs, {}),
            read_content(pool, caller, missing, theirs),
            rag.create_batch(pool, caller, missing, [rag.NewFile(theirs)]),
            rag.get_batch(pool, caller, missing, batch.id),
            rag.get_batch(pool, caller, store, batch.id),
            rag.cancel_batch(pool, caller, missing, batch.id),
            rag.list_batch_files(pool, caller, missing, batch.id),
            rag.list_stores(pool, caller, rag.Cursor(before=missing)),
            rag.list_stores(pool, caller, rag.Cursor(after=missing)),
            rag.search(pool, embedder, caller, [store, missing], "annual", k=1),
        ):
            with pytest.raises(rag.NotFound):
                await attempt
    assert (await rag.get_store(pool, ACME, other)).counts.total == 1


async def test_its_own_stores_are_all_its(
    pool: asyncpg.Pool, store: str, other: str, embedder: InMemoryEmbedder
) -> None:
    caller = limited_to(store)
    found = await rag.search(pool, embedder, caller, [store], "annual", k=5)
    assert [passage.source for passage in found.passages] == ["mine.md"]
    mine = (await ids(pool, caller))["mine.md"]
    assert [file.id for file in await rag.list_store_files(pool, caller, store)] == [mine]
    batch = await rag.create_batch(pool, caller, store, [rag.NewFile(mine)])
    assert (await rag.get_batch(pool, caller, store, batch.id)).counts.completed == 1
    assert (await rag.update_store(pool, caller, store, name="mine")).name == "mine"
    await rag.remove_file(pool, caller, store, mine)
    await rag.delete_store(pool, caller, store)
    assert await rag.list_stores(pool, caller) == []


async def test_its_files_are_its_clients_and_its_stores(
    pool: asyncpg.Pool, store: str, other: str
) -> None:
    caller = limited_to(store)
    theirs = (await ids(pool, ACME))["theirs.md"]
    own = await rag.create_file(
        pool, caller, filename="own.md", purpose="assistants", parts=parts_of(b"x")
    )
    assert own.client == "limited"
    assert set(await ids(pool, caller)) == {"mine.md", "own.md"}
    assert set(await ids(pool, limited_to(client="another"))) == set()
    behind = rag.Cursor(after=own.id, order="asc")
    assert [file.id for file in await rag.list_files(pool, caller, behind)] == []
    for missing in (theirs, "file-0"):
        for attempt in (
            rag.get_file(pool, caller, missing),
            rag.delete_file(pool, caller, missing),
            rag.add_file(pool, caller, store, missing),
            rag.create_batch(pool, caller, store, [rag.NewFile(missing)]),
            rag.list_files(pool, caller, rag.Cursor(after=missing)),
            anext(rag.read_file(pool, caller, missing)),
        ):
            with pytest.raises(rag.NotFound):
                await attempt


async def test_what_would_reach_beyond_its_stores_is_refused_with_the_reason(
    pool: asyncpg.Pool, store: str, other: str
) -> None:
    caller = limited_to(store)
    with pytest.raises(rag.NotAllowed, match="can't make others"):
        await rag.create_store(pool, caller, name="new")
    mine = (await ids(pool, caller))["mine.md"]
    await rag.add_file(pool, ACME, other, mine)
    with pytest.raises(rag.NotAllowed, match="another client uploaded"):
        await rag.delete_file(pool, caller, mine)
    own = await upload(pool, "own.md", "x")
    await rag.delete_file(pool, replace(caller, client="client-1"), own.id)


async def test_an_agent_reaches_its_stores_for_whoever_may_ask_it(
    pool: asyncpg.Pool, store: str, other: str, embedder: InMemoryEmbedder
) -> None:
    agent = limited_to(store).as_agent(frozenset([other]))
    found = await rag.search(pool, embedder, agent, [other], "annual", k=5)
    assert [passage.source for passage in found.passages] == ["theirs.md"]
    with pytest.raises(rag.NotFound):
        await rag.search(pool, embedder, agent, [store], "annual", k=5)
