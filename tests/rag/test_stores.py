"""Stores, and the files in them."""

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg
import pytest
from documents import docx_of, hwpx_of, hwpx_paragraph, pptx_of, xlsx_of
from hypothesis import given
from hypothesis import strategies as st
from knowledge import fill, job_worker, pdf_of, until_done, upload
from support import scope_of

import rag
from rag import store_files
from rag.chunk import Cut, chunk_pages
from rag.paging import Order
from rag.parse.document import parse
from rag.ruler import Ruler
from rag.store_files import read_content
from rag.testing import InMemoryEmbedder
from rag.tokenizer import TokenizerSource, open_tokenizer
from rag.types import Chunk

RULER = Ruler(open_tokenizer(TokenizerSource()), ("en",))
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


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_lists_go_back_in_front_of_a_store(pool: asyncpg.Pool, order: Order) -> None:
    made = [(await rag.create_store(pool, ACME, name=str(n))).id for n in range(6)]
    ids = made if order == "asc" else made[::-1]

    async def listed(**bounds: Any) -> list[str]:
        found = await rag.list_stores(pool, ACME, rag.Cursor(order=order, **bounds))
        return [store.id for store in found]

    assert await listed(limit=2, before=ids[4]) == ids[2:4]
    assert await listed(limit=9, before=ids[4]) == ids[:4]
    assert await listed(limit=9, before=ids[0]) == []
    assert await listed(limit=9, after=ids[0], before=ids[4]) == ids[1:4]
    assert await listed(limit=2, after=ids[0], before=ids[4]) == ids[1:3]
    assert await listed(limit=9, after=ids[4], before=ids[1]) == []


async def test_a_store_changes_in_what_is_given(pool: asyncpg.Pool) -> None:
    made = await rag.create_store(
        pool, ACME, name="a", description="old", metadata={"k": "v"}, expires_after_days=3
    )
    assert (made.description, made.expires_after_days) == ("old", 3)
    renamed = await rag.update_store(pool, ACME, made.id, name="b\0")
    assert (renamed.name, renamed.metadata, renamed.expires_after_days) == (
        "b\ufffd",
        {"k": "v"},
        3,
    )
    assert renamed.last_active_at > made.last_active_at
    emptied = await rag.update_store(pool, ACME, made.id, metadata={}, expires_after_days=9)
    assert (emptied.name, emptied.metadata, emptied.expires_after_days) == ("b\ufffd", {}, 9)


async def test_a_store_is_made_with_all_of_its_files_or_not_at_all(pool: asyncpg.Pool) -> None:
    file = await upload(pool, "a.md", "text")
    made = await rag.create_store(pool, ACME, files=[rag.NewFile(file.id, {"year": 2026})])
    assert made.counts.in_progress == 1
    (attached,) = await rag.list_store_files(pool, ACME, made.id)
    assert attached.attributes == {"year": 2026}
    with pytest.raises(rag.NotFound):
        await rag.create_store(pool, ACME, files=[rag.NewFile(file.id), rag.NewFile("file-0")])
    assert [store.id for store in await rag.list_stores(pool, ACME)] == [made.id]


async def test_counts_are_exact_whatever_happens_at_once(
    pool: asyncpg.Pool, owner: asyncpg.Connection, store: str, embedder: InMemoryEmbedder
) -> None:
    ids = [(await upload(pool, f"{n}.md", f"text {n}")).id for n in range(20)]
    async with job_worker(pool, embedder):
        await asyncio.gather(*(rag.add_file(pool, ACME, store, id_) for id_ in ids))
        await asyncio.gather(
            *(rag.remove_file(pool, ACME, store, id_) for id_ in ids[:8]),
            *(rag.add_file(pool, ACME, store, id_) for id_ in ids[8:]),
        )
        await until_done(pool, store)
    found = await rag.get_store(pool, ACME, store)
    row = await owner.fetchrow("SELECT count(*), sum(usage_bytes) FROM store_files")
    assert (found.counts.completed, found.usage_bytes) == (12, row[1]) == (row[0], row[1])
    assert found.counts.total == 12


async def test_counts_cost_no_look_at_the_files(
    pool: asyncpg.Pool, owner: asyncpg.Connection, store: str
) -> None:
    await owner.execute(
        "INSERT INTO files (id, tenant, filename, purpose, bytes)"
        " SELECT 'file-' || n, 'acme', 'a', 'assistants', 0 FROM generate_series(1, 10000) n"
    )
    await owner.execute(
        "INSERT INTO store_files (tenant, store_id, file_id)"
        " SELECT 'acme', $1, 'file-' || n FROM generate_series(1, 10000) n",
        store,
    )
    assert await owner.fetchval("SELECT count(*) FROM store_counts") == 1
    assert (await rag.list_stores(pool, ACME))[0].counts.total == 10_000
    await rag.delete_store(pool, ACME, store)
    assert await owner.fetchval("SELECT count(*) FROM store_counts") == 0


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


async def test_attaching_the_same_file_at_once_makes_one_row(
    pool: asyncpg.Pool, owner: asyncpg.Connection, store: str, embedder: InMemoryEmbedder
) -> None:
    file = await upload(pool, "a.md", "annual leave")
    async with job_worker(pool, embedder):
        await asyncio.gather(*(rag.add_file(pool, ACME, store, file.id) for _ in range(20)))
        await until_done(pool, store)
    assert await owner.fetchval("SELECT count(*) FROM store_files") == 1
    assert await owner.fetchval("SELECT count(*) FROM documents") == 1
    assert (await rag.get_store(pool, ACME, store)).counts == rag.FileCounts(0, 1, 0, 0)


async def test_attaching_again_replaces_attributes_and_refuses_another_chunking(
    pool: asyncpg.Pool, store: str
) -> None:
    file = await upload(pool, "a.md", "annual leave")
    cut = rag.Chunking(100, 0)
    await rag.add_file(pool, ACME, store, rag.NewFile(file.id, {"year": 2025}, cut))
    kept = await rag.add_file(pool, ACME, store, file.id)
    assert (kept.attributes, kept.chunking) == ({"year": 2025}, cut)
    changed = await rag.add_file(pool, ACME, store, rag.NewFile(file.id, {"year": 2026}, cut))
    assert changed.attributes == {"year": 2026}
    with pytest.raises(rag.AlreadyAttached, match="take it out first"):
        await rag.add_file(pool, ACME, store, rag.NewFile(file.id, {}, rag.Chunking(200, 0)))


async def test_attributes_are_replaced(pool: asyncpg.Pool, store: str) -> None:
    file = await upload(pool, "a.md", "annual leave")
    await rag.add_file(pool, ACME, store, rag.NewFile(file.id, {"year": 2025, "draft": True}))
    given = {"year": 2026.5, "팀": "인사", "count": 2**53 + 1, "final": False}
    changed = await rag.update_attributes(pool, ACME, store, file.id, given)
    assert changed.attributes == given
    assert isinstance(changed.attributes["count"], int)
    for scope, store_id, file_id in ((OTHER, store, file.id), (ACME, store, "file-0")):
        with pytest.raises(rag.NotFound):
            await rag.update_attributes(pool, scope, store_id, file_id, {})


async def test_the_text_that_was_read_comes_back_page_by_page(
    pool: asyncpg.Pool, store: str, embedder: InMemoryEmbedder
) -> None:
    pages = [["Annual leave is 15 days."], ["병가는 연간 10일이다."]]
    files = await fill(
        pool,
        embedder,
        store,
        {"a.pdf": pdf_of(*pages), "b.md": "# Leave\n\nAnnual leave.\n\n# Bonus\n\nIn May."},
    )
    read = await read_content(pool, ACME, store, files["a.pdf"].id)
    assert read == [rag.Page(n, lines[0]) for n, lines in enumerate(pages, start=1)]
    (text,) = await read_content(pool, ACME, store, files["b.md"].id) or []
    assert text == rag.Page(None, "# Leave\n\nAnnual leave.\n\n# Bonus\n\nIn May.")
    waiting = await upload(pool, "c.md", "x")
    await rag.add_file(pool, ACME, store, waiting.id)
    assert await read_content(pool, ACME, store, waiting.id) is None
    with pytest.raises(rag.NotFound):
        await read_content(pool, OTHER, store, files["b.md"].id)


async def test_text_that_two_chunks_share_comes_back_once() -> None:
    spans = ((0, 4), (2, 6), (2, 5), (7, 10))
    chunks = [Chunk(0, 1, start, end, "0123456789"[start:end], "") for start, end in spans]
    assert read_back(chunks) == {1: "012345\n789"}


def read_back(chunks: Sequence[Chunk]) -> dict[int | None, str]:
    rows = [
        {"page": each.page, "start_char": each.start, "end_char": each.end, "content": each.content}
        for each in chunks
    ]
    return {page.number: page.text for page in store_files._pages(rows)}


_SECTIONS = [f"# Part {n}\n\n\n  Rule {n}. It holds.\n   - one\n\n   - two" for n in range(9)]
_HTML = "".join(f"<h2>Part {n}</h2>\n<p>Rule {n}.<br>It holds.</p><ul><li>a</ul>" for n in range(9))
_ROWS = [["name", "pay"], *([f"Kim {n}", str(n)] for n in range(90))]
_CELLS = "\n".join(map(",".join, _ROWS))
_TABLE = "\n".join(["|  name  | pay|", "|---|:-:|", *(f"|{name}|{pay}|" for name, pay in _ROWS)])
FILES = {
    "a.md": "\n\n".join([*_SECTIONS, _TABLE]).encode(),
    "a.txt": "   제1장 총칙\n\n\n목적이다.  \n 끝이다.\n\n제2장 휴가\n \n15일이다.".encode(),
    "a.html": _HTML.encode(),
    "a.csv": _CELLS.encode(),
    "a.json": b'{"leave": {"annual": 15, "sick": [10, 20]}, "pay": "monthly"}',
    "a.pdf": pdf_of(["Annual leave.", "15 days."] * 9, ["# Bonus", "In May."]),
    "a.docx": docx_of("# Leave", "15 days.", "- one", "# Bonus", "In May.", table=_ROWS),
    "a.pptx": pptx_of(("Leave", "15 days."), ("Bonus", "In May.")),
    "a.xlsx": xlsx_of(One=_ROWS, Two=_ROWS),
    "a.hwpx": hwpx_of(hwpx_paragraph("휴가", kind=1) + hwpx_paragraph("15일이다.") * 9),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("cut", [Cut(12), Cut(40, 10), Cut(400)])
def test_the_offsets_of_every_chunk_count_in_the_text_that_comes_back(name: str, cut: Cut) -> None:
    pages = parse(name, FILES[name])
    chunks = chunk_pages(pages, cut, RULER, name)
    texts = read_back(chunks)
    assert [each.content for each in chunks] == [
        texts[each.page][each.start : each.end] for each in chunks
    ]
    assert {number: text.split() for number, text in texts.items()} == {
        page.number: page.text.split() for page in pages
    }


@given(st.text(st.sampled_from("a가.# \n1"), max_size=200), st.integers(1, 20), st.integers(0, 9))
def test_whatever_stands_between_chunks_the_offsets_count(
    text: str, size: int, overlap: int
) -> None:
    chunks = chunk_pages([rag.Page(None, text)], Cut(size, overlap), RULER)
    back = read_back(chunks).get(None, "")
    assert [back[each.start : each.end] for each in chunks] == [each.content for each in chunks]


async def test_a_store_can_be_deleted_while_it_is_searched_and_listed(
    pool: asyncpg.Pool, embedder: InMemoryEmbedder
) -> None:
    for _ in range(5):
        store = (await rag.create_store(pool, ACME)).id
        await fill(pool, embedder, store, {"a.md": "annual leave"})
        *others, deleted = await asyncio.gather(
            *(rag.search(pool, embedder, ACME, [store], "annual", k=1) for _ in range(3)),
            rag.list_stores(pool, ACME),
            rag.list_store_files(pool, ACME, store),
            rag.get_store(pool, ACME, store),
            rag.delete_store(pool, ACME, store),
            return_exceptions=True,
        )
        assert deleted is None
        faults = [each for each in others if isinstance(each, BaseException)]
        assert all(isinstance(fault, rag.NotFound) for fault in faults), faults


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
