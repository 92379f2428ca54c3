"""The statistics are those of the chunks that are there, whatever came and went."""

import asyncio
from collections import Counter

import asyncpg
from knowledge import fill
from support import scope_of

import rag
from config.postgres import tenant_transaction
from rag.lexical import term_id, tokens
from rag.lexicon import read_statistics
from rag.testing import InMemoryEmbedder

ACME = scope_of("acme")
DOCUMENTS = {
    "a.md": "연차 휴가는 15일이다.",
    "b.md": "연차 수당, annual leave pay",
    "c.md": "sick leave\n\n" + "휴가 " * 30,
    "d.md": "unrelated words",
}


def expected(names: list[str]) -> dict[int, int]:
    counts: Counter[int] = Counter()
    for name in names:
        counts.update({term_id(word) for word in tokens(f"{name}\n{DOCUMENTS[name]}")})
    return dict(counts)


async def index_of(owner: asyncpg.Connection, store: str) -> int:
    id_: int = await owner.fetchval("SELECT id FROM indexes WHERE store_id = $1 AND live", store)
    return id_


async def counted(owner: asyncpg.Connection, store: str) -> dict[int, int]:
    rows = await owner.fetch(
        "SELECT term, df FROM lexicon WHERE index_id = $1", await index_of(owner, store)
    )
    return {row["term"]: row["df"] for row in rows}


async def test_frequencies_follow_the_documents(
    pool: asyncpg.Pool, owner: asyncpg.Connection, store: str, embedder: InMemoryEmbedder
) -> None:
    files = await fill(pool, embedder, store, DOCUMENTS)
    assert await counted(owner, store) == expected(list(DOCUMENTS))
    await asyncio.gather(
        rag.delete_file(pool, ACME, files["a.md"].id),
        rag.remove_file(pool, ACME, store, files["c.md"].id),
    )
    assert await counted(owner, store) == expected(["b.md", "d.md"])
    await rag.add_file(pool, ACME, store, files["c.md"].id)
    await fill(pool, embedder, store, {})
    assert await counted(owner, store) == expected(["b.md", "c.md", "d.md"])


async def test_statistics_span_the_searched_stores(
    pool: asyncpg.Pool, owner: asyncpg.Connection, store: str, embedder: InMemoryEmbedder
) -> None:
    other = (await rag.create_store(pool, ACME, name="other")).id
    await fill(pool, embedder, store, {"a.md": "annual leave"})
    await fill(pool, embedder, other, {"b.md": "sick leave"})
    terms = [term_id(tokens(word)[0]) for word in ("annual", "leave", "unseen")]
    indexes = [await index_of(owner, id_) for id_ in (store, other)]
    async with tenant_transaction(pool, "acme") as con:
        both = await read_statistics(con, indexes, terms)
        second = await read_statistics(con, indexes[1:], terms)
        none = await read_statistics(con, [], terms)
    assert both.chunks == 2
    assert both.frequencies == {terms[0]: 1, terms[1]: 2}
    assert second.frequencies == {terms[1]: 1}
    assert none.chunks == 0
