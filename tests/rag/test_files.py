"""Files come back as they were stored, or were never there."""

from collections.abc import AsyncIterator

import asyncpg
import pytest
from knowledge import fill, parts_of, upload
from support import scope_of

import rag
from rag.files import clean_name
from rag.lexical import tokens
from rag.testing import InMemoryEmbedder

ACME, OTHER = scope_of("acme"), scope_of("other")


async def test_bytes_come_back(pool: asyncpg.Pool) -> None:
    data = bytes(range(256)) * 10_000
    parts = parts_of(data[:5], b"", data[5:2_000_000], data[2_000_000:])
    stored = await rag.create_file(pool, ACME, filename="a.bin", purpose="assistants", parts=parts)
    assert await rag.get_file(pool, ACME, stored.id) == stored
    assert (stored.filename, stored.bytes, stored.purpose) == ("a.bin", len(data), "assistants")
    read = [part async for part in rag.read_file(pool, ACME, stored.id)]
    assert b"".join(read) == data
    assert max(map(len, read)) <= 1 << 20


async def test_an_upload_that_breaks_off_leaves_nothing(
    pool: asyncpg.Pool, owner: asyncpg.Connection
) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * (3 << 20)
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await rag.create_file(pool, ACME, filename="a", purpose="assistants", parts=broken())
    assert await rag.list_files(pool, ACME) == []
    assert await owner.fetchval("SELECT count(*) FROM file_parts") == 0


async def test_lists_go_on_behind_a_file(pool: asyncpg.Pool) -> None:
    ids = [(await upload(pool, f"{n}.md", "text")).id for n in range(5)]
    newest = await rag.list_files(pool, ACME, rag.Cursor(2))
    rest = await rag.list_files(pool, ACME, rag.Cursor(after=newest[-1].id))
    assert [file.id for file in newest + rest] == ids[::-1]
    oldest = await rag.list_files(pool, ACME, rag.Cursor(3, order="asc"))
    assert [file.id for file in oldest] == ids[:3]
    behind = await rag.list_files(pool, ACME, rag.Cursor(after=ids[2], order="asc"))
    assert [file.id for file in behind] == ids[3:]


@pytest.mark.parametrize("id_", ["", "file-0", "a\0b", "\ud800"])
async def test_a_missing_file(pool: asyncpg.Pool, id_: str) -> None:
    with pytest.raises(rag.NotFound) as caught:
        await rag.get_file(pool, ACME, id_)
    assert (caught.value.what, caught.value.id) == ("file", id_)


async def test_another_tenants_file_is_missing(pool: asyncpg.Pool) -> None:
    stored = await upload(pool, "a.md", "secret", tenant="acme")
    with pytest.raises(rag.NotFound):
        await rag.get_file(pool, OTHER, stored.id)
    with pytest.raises(rag.NotFound):
        await anext(rag.read_file(pool, OTHER, stored.id))
    with pytest.raises(rag.NotFound):
        await rag.delete_file(pool, OTHER, stored.id)
    with pytest.raises(rag.NotFound):
        await rag.list_files(pool, OTHER, rag.Cursor(after=stored.id))
    assert await rag.list_files(pool, OTHER) == []
    assert await rag.get_file(pool, ACME, stored.id) == stored


async def test_deleting_a_file_deletes_what_was_read_from_it(
    pool: asyncpg.Pool, owner: asyncpg.Connection, store: str, embedder: InMemoryEmbedder
) -> None:
    files = await fill(pool, embedder, store, {"a.md": "annual leave", "b.md": "sick leave"})
    await rag.delete_file(pool, ACME, files["a.md"].id)
    found = await rag.search(pool, embedder, ACME, [store], "annual leave", k=5)
    assert [passage.source for passage in found.passages] == ["b.md"]
    (annual,), (leave,) = tokens("annual"), tokens("leave")
    assert found.term_weights[annual] > found.term_weights[leave]
    assert (await rag.get_store(pool, ACME, store)).counts.total == 1
    for table in ("file_parts", "chunks", "chunk_terms", "chunk_embeddings"):
        assert await owner.fetchval(f"SELECT count(*) FROM {table}") == 1


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        (r"C:\docs\규정.pdf", "규정.pdf"),
        ("a\0\n\x1b.md", "a.md"),
        ("\ud800.md", ".md"),
        ("..", "unnamed"),
        ("", "unnamed"),
        ("x" * 300 + ".pdf", "x" * 251 + ".pdf"),
        ("x" * 300, "x" * 255),
    ],
)
def test_names_are_kept_short_and_clean(given: str, kept: str) -> None:
    assert clean_name(given) == kept
