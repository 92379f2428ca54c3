"""What was read before is not read again: documents are copied, vectors found by their text."""

import asyncio
from collections.abc import Sequence
from itertools import pairwise

import asyncpg
import pytest
from knowledge import fill, job_worker, until_done, upload
from support import scope_of

import rag
from config.settings import RetrievalSettings
from rag import prepare
from rag.embedding_wire import Kind, Vector
from rag.parse.apart import Parser
from rag.testing import InMemoryEmbedder

ACME = scope_of("acme")
PARAGRAPHS = [f"## Part {n}\n\n" + f"Words {n} are said. " * 5 for n in range(20)]
SHORT = RetrievalSettings(chunk_tokens=64)


class Interrupted(InMemoryEmbedder):
    """Does not answer any more after so many texts."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after
        self.stuck = asyncio.Event()

    async def embed(self, texts: Sequence[str], kind: Kind = "document") -> list[Vector]:
        if len(self.asked) >= self.after:
            self.stuck.set()
            await asyncio.Event().wait()
        return await super().embed(texts, kind)


async def read(
    pool: asyncpg.Pool, store: str, file: rag.StoredFile, settings: RetrievalSettings = SHORT
) -> list[str]:
    """Attach a file, have it read, and return what its model was asked for."""
    embedder = InMemoryEmbedder()
    await rag.add_file(pool, ACME, store, file.id)
    async with job_worker(pool, embedder, settings):
        await until_done(pool, store)
    assert (await rag.get_store_file(pool, ACME, store, file.id)).status == "completed"
    return embedder.asked


async def contents(owner: asyncpg.Connection) -> dict[str, list[tuple[object, ...]]]:
    """Everything that was written of each file, without its numbers."""
    rows = await owner.fetch(
        "SELECT d.file_id, c.ordinal, c.page, c.start_char, c.end_char, c.heading, c.content,"
        " t.terms::text, e.text_hash, e.embedding::text"
        " FROM documents d JOIN chunks c ON c.document = d.id"
        " JOIN chunk_terms t ON t.chunk_id = c.id LEFT JOIN chunk_embeddings e ON e.chunk_id = c.id"
        " ORDER BY d.file_id, c.ordinal"
    )
    found: dict[str, list[tuple[object, ...]]] = {}
    for row in rows:
        found.setdefault(row["file_id"], []).append(tuple(row)[1:])
    return found


@pytest.fixture
async def second(pool: asyncpg.Pool) -> str:
    return (await rag.create_store(pool, ACME, name="second")).id


async def test_the_same_bytes_in_another_store_are_neither_parsed_nor_embedded(
    pool: asyncpg.Pool,
    owner: asyncpg.Connection,
    store: str,
    second: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = await upload(pool, "book.md", "\n\n".join(PARAGRAPHS))
    assert len(await read(pool, store, first)) == 20
    again = await upload(pool, "book.md", "\n\n".join(PARAGRAPHS))
    monkeypatch.setattr(Parser, "read", None)
    assert await read(pool, second, again) == []
    found = await contents(owner)
    assert found[first.id] == found[again.id]
    frequencies = "SELECT term, df FROM lexicon l JOIN indexes i ON i.id = l.index_id"
    one, other = [
        await owner.fetch(f"{frequencies} WHERE store_id = $1 ORDER BY term", id_)
        for id_ in (store, second)
    ]
    assert one == other != []


async def test_of_a_new_version_only_what_changed_is_embedded(
    pool: asyncpg.Pool, store: str
) -> None:
    await read(pool, store, await upload(pool, "book.md", "\n\n".join(PARAGRAPHS)))
    changed = [*PARAGRAPHS]
    changed[7] = "## Part 7\n\n" + "Another paragraph. " * 5
    asked = await read(pool, store, await upload(pool, "book.md", "\n\n".join(changed)))
    assert len(asked) == 1
    assert asked[0].endswith(changed[7].strip())


@pytest.mark.parametrize("what", ["name", "size", "model"])
async def test_another_name_size_or_model_is_read_anew(
    pool: asyncpg.Pool, store: str, second: str, what: str
) -> None:
    text = "\n\n".join(PARAGRAPHS)
    await read(pool, store, await upload(pool, "book.md", text))
    again = await upload(pool, "other.md" if what == "name" else "book.md", text)
    await rag.add_file(pool, ACME, second, again.id)
    embedder = InMemoryEmbedder(model="other" if what == "model" else "in-memory")
    settings = RetrievalSettings(chunk_tokens=20) if what == "size" else SHORT
    async with job_worker(pool, embedder, settings):
        await until_done(pool, second)
    assert embedder.asked


async def test_what_another_tenant_has_read_is_not_used(pool: asyncpg.Pool, store: str) -> None:
    embedder = InMemoryEmbedder()
    await fill(pool, embedder, store, {"a.md": "annual leave"})
    rival = (await rag.create_store(pool, scope_of("rival"))).id
    await fill(pool, embedder, rival, {"a.md": "annual leave"}, tenant="rival")
    assert embedder.asked == ["a.md\nannual leave"] * 2


async def test_what_a_document_repeats_is_embedded_once(pool: asyncpg.Pool, store: str) -> None:
    file = await upload(pool, "a.md", "\n\n".join([PARAGRAPHS[0]] * 9))
    assert len(await read(pool, store, file)) == 2


async def test_a_crash_costs_a_long_document_none_of_the_embeddings_it_had(
    pool: asyncpg.Pool,
    owner: asyncpg.Connection,
    store: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(prepare, "_EMBED_BATCH", 4)
    file = await upload(pool, "book.md", "\n\n".join(PARAGRAPHS))
    await rag.add_file(pool, ACME, store, file.id)
    interrupted = Interrupted(after=12)
    async with job_worker(pool, interrupted, SHORT):
        await interrupted.stuck.wait()
    assert await owner.fetchval("SELECT count(*) FROM early_embeddings") == 12
    embedder = InMemoryEmbedder()
    async with job_worker(pool, embedder, SHORT):
        await until_done(pool, store)
    assert len(embedder.asked) == 8
    assert not set(embedder.asked) & set(interrupted.asked)
    assert await owner.fetchval("SELECT count(*) FROM chunk_embeddings") == 20
    assert await owner.fetchval("SELECT count(*) FROM early_embeddings") == 0


async def test_how_far_a_document_is_can_be_seen(
    pool: asyncpg.Pool, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "_EMBED_BATCH", 4)
    monkeypatch.setattr("rag.watch._LOOK_S", 0.02)
    file = await upload(pool, "book.md", "\n\n".join(PARAGRAPHS))
    await rag.add_file(pool, ACME, store, file.id)
    interrupted = Interrupted(after=12)
    async with job_worker(pool, interrupted, SHORT), asyncio.timeout(20):
        while (await rag.get_store_file(pool, ACME, store, file.id)).chunks_done != 12:
            await asyncio.sleep(0.02)
        assert (await rag.get_store_file(pool, ACME, store, file.id)).chunks_total == 20
    async with job_worker(pool, InMemoryEmbedder(), SHORT):
        await until_done(pool, store)
    done = await rag.get_store_file(pool, ACME, store, file.id)
    assert (done.chunks_done, done.chunks_total) == (20, 20)


async def test_a_file_is_cut_as_it_asks(
    pool: asyncpg.Pool, owner: asyncpg.Connection, store: str
) -> None:
    text = "Words are said. " * 100
    small, usual = await upload(pool, "a.md", text), await upload(pool, "b.md", text)
    chunking = rag.Chunking(max_tokens=100, overlap_tokens=20)
    await rag.add_file(pool, ACME, store, rag.NewFile(small.id, chunking=chunking))
    await rag.add_file(pool, ACME, store, usual.id)
    async with job_worker(pool, InMemoryEmbedder()):
        await until_done(pool, store)
    found = await contents(owner)
    ends = [(row[2], row[3]) for row in found[small.id]]
    assert all(start < end for (_, end), (start, _) in pairwise(ends))
    assert len(found[small.id]) > len(found[usual.id])
