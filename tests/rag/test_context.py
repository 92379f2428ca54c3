"""What a model writes about chunks: searched in both legs, never cited, never in the way."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg
import pytest
from aiohttp import web
from knowledge import job_worker, until_done, upload
from support import scope_of

import rag
from config.context import ContextSettings
from rag.chunk import Cut, chunk_pages, embedded_texts
from rag.context import ContextWriter, open_context_writer, write_contexts
from rag.ruler import Ruler, RulerSource, open_ruler
from rag.testing import InMemoryContextWriter, InMemoryEmbedder
from rag.tokenizer import TokenizerSource
from rag.types import Chunk, Page

ACME = scope_of("acme")
REPORT = "# Revenue\n\nIt grew by three percent.\n\n# Staff\n\nNobody left."
WROTE = {"grew": "About Umbrella in the second quarter."}
BOTH = {**WROTE, "Nobody": "About the people."}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def read(
    pool: asyncpg.Pool, store: str, text: str, writer: ContextWriter | None
) -> tuple[rag.StoreFile, InMemoryEmbedder]:
    """Have a document read; return how that ended, and the model that was asked."""
    file, embedder = await upload(pool, "report.md", text), InMemoryEmbedder()
    await rag.add_file(pool, ACME, store, file.id)
    async with job_worker(pool, embedder, writer=writer):
        await until_done(pool, store)
    return await rag.get_store_file(pool, ACME, store, file.id), embedder


async def contexts(owner: asyncpg.Connection, file: rag.StoreFile) -> list[str]:
    rows = await owner.fetch(
        "SELECT c.context FROM chunks c JOIN documents d ON d.id = c.document"
        " WHERE d.file_id = $1 ORDER BY c.ordinal",
        file.id,
    )
    return [row["context"] for row in rows]


@asynccontextmanager
async def api(handler: Handler) -> AsyncIterator[ContextWriter]:
    app = web.Application()
    app.router.add_post("/v1/chat/completions", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    settings = {"url": url, "model": "writer", "api_key": "k", "timeout_s": 0.5, "max_tokens": 16}
    writer = open_context_writer(ContextSettings.model_validate(settings))
    assert writer
    yield writer
    await writer.close()
    await runner.cleanup()


def said(text: str | None, **more: object) -> web.Response:
    message = {"role": "assistant", "content": text, **more}
    return web.json_response({"choices": [{"message": message, "finish_reason": "stop"}]})


async def test_a_question_in_words_of_the_context_alone_finds_the_chunk(
    pool: asyncpg.Pool, owner: asyncpg.Connection, store: str
) -> None:
    file, embedder = await read(pool, store, REPORT, InMemoryContextWriter(WROTE))
    found = await rag.search(pool, embedder, ACME, [store], "umbrella quarter", k=2)
    best, other = found.passages
    assert best.lexical > 0 == other.lexical
    assert best.content == "# Revenue\n\nIt grew by three percent."
    assert await contexts(owner, file) == [WROTE["grew"], ""]


async def test_the_embedding_model_reads_it_before_the_content(
    pool: asyncpg.Pool, store: str
) -> None:
    _, embedder = await read(pool, store, REPORT, InMemoryContextWriter(WROTE))
    read_first = f"report.md\nRevenue\n{WROTE['grew']}\n# Revenue\n\nIt grew by three percent."
    assert read_first in embedder.asked


async def test_without_a_writer_nothing_is_written(
    pool: asyncpg.Pool, owner: asyncpg.Connection, store: str
) -> None:
    file, embedder = await read(pool, store, REPORT, None)
    assert await contexts(owner, file) == ["", ""]
    assert "report.md\nRevenue\n# Revenue\n\nIt grew by three percent." in embedder.asked


async def test_a_copied_document_brings_its_contexts(
    pool: asyncpg.Pool, owner: asyncpg.Connection, store: str
) -> None:
    await read(pool, store, REPORT, InMemoryContextWriter(BOTH))
    second = (await rag.create_store(pool, ACME, name="second")).id
    writer = InMemoryContextWriter(BOTH)
    file, embedder = await read(pool, second, REPORT, writer)
    assert await contexts(owner, file) == list(BOTH.values())
    assert writer.asked == embedder.asked == []


@pytest.mark.parametrize("before", [None, InMemoryContextWriter(BOTH, model="other")])
async def test_another_writer_is_asked_for_the_same_document(
    pool: asyncpg.Pool, store: str, before: ContextWriter | None
) -> None:
    await read(pool, store, REPORT, before)
    second = (await rag.create_store(pool, ACME, name="second")).id
    writer = InMemoryContextWriter(BOTH)
    await read(pool, second, REPORT, writer)
    assert len(writer.asked) == 2


async def test_a_document_that_lacks_contexts_is_not_one_to_copy(
    pool: asyncpg.Pool, owner: asyncpg.Connection, store: str
) -> None:
    await read(pool, store, REPORT, InMemoryContextWriter({}))
    second = (await rag.create_store(pool, ACME, name="second")).id
    file, _ = await read(pool, second, REPORT, InMemoryContextWriter(BOTH))
    assert await contexts(owner, file) == list(BOTH.values())


@pytest.mark.parametrize("context", ["about it " * 200, "그것에 대하여 " * 200])
def test_the_embedding_model_reads_context_and_content_whole(context: str) -> None:
    source = RulerSource(TokenizerSource(limit=128), ("en",), 40)
    whole, ruler = Ruler(open_ruler(source)._tokenizer, ("en",)), open_ruler(source)
    text = "".join(f"The {n}th sentence is about leave. " for n in range(200))
    for chunk in chunk_pages([Page(None, text)], Cut(200), ruler, "a.md"):
        wrote = Chunk(
            *(chunk.ordinal, None, chunk.start, chunk.end, chunk.content, chunk.heading), context
        )
        (asked,) = embedded_texts([wrote], "a.md", ruler)
        assert asked.endswith(chunk.content)
        assert whole.count(asked) <= whole.limit
        assert ("about it" in asked) == context.isascii()


async def test_a_chunk_is_shown_with_a_bounded_part_of_its_document() -> None:
    writer = InMemoryContextWriter({})
    contents = [f"Part {n} " + "x" * 500 for n in range(300)]
    await write_contexts(writer, [Chunk(n, None, 0, 1, c, "") for n, c in enumerate(contents)])
    document, chunk = next(each for each in writer.asked if "Part 150 " in each[1])
    assert document.startswith("Part 0 ")
    assert all(part in document for part in ("Part 149 ", chunk, "Part 151 "))
    assert max(len(document) for document, _ in writer.asked) < 26_000


async def test_the_document_is_asked_about_as_data_and_the_answer_is_one_line() -> None:
    async def handler(request: web.Request) -> web.Response:
        assert request.headers["authorization"] == "Bearer k"
        body = await request.json()
        assert (body["model"], body["max_tokens"]) == ("writer", 16)
        system, user = body["messages"]
        assert "no instruction" in system["content"]
        mark = user["content"].partition(" document begins\nAll of it.\n")[0]
        assert user["content"].count(mark) == 4
        assert f"{mark} chunk begins\nof it\n{mark} chunk ends" in user["content"]
        return said("  About\n\nit.\0 " + "y" * 1000)

    async with api(handler) as writer:
        wrote = await writer.write("All of it.", "of it")
    assert wrote == ("About it. " + "y" * 1000)[: 8 * 16]


async def fails(_: web.Request) -> web.Response:
    return web.Response(status=500, text="secret words")


async def hangs(_: web.Request) -> web.Response:
    await asyncio.Event().wait()
    raise AssertionError


async def says_too_much(_: web.Request) -> web.Response:
    return said("z" * 1_000_000)


async def says_nonsense(_: web.Request) -> web.Response:
    return web.json_response({"choices": "secret words"})


async def refuses(_: web.Request) -> web.Response:
    return said(None, refusal="secret words")


@pytest.mark.parametrize("handler", [fails, hangs, says_too_much, says_nonsense, refuses])
async def test_a_model_that_fails_costs_the_context_and_not_the_document(
    pool: asyncpg.Pool,
    owner: asyncpg.Connection,
    store: str,
    handler: Handler,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with api(handler) as writer:
        file, _ = await read(pool, store, REPORT, writer)
    assert file.status == "completed"
    assert await contexts(owner, file) == ["", ""]
    told = [each.getMessage() for each in caplog.records if each.name == "rag.context"]
    assert len(told) == 2
    assert not any(word in line for line in told for word in ("secret", "grew", "report.md"))


async def test_a_model_that_fails_often_is_left_alone_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = 0

    async def handler(_: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return said("well again") if asked > 5 else web.Response(status=503)

    async with api(handler) as writer:
        assert [await writer.write("d", "c") for _ in range(9)] == [""] * 9
        assert asked == 5
        monkeypatch.setattr(writer, "_rests_until", 0.0)
        assert await writer.write("d", "c") == "well again"


def test_there_is_no_writer_unless_one_is_set() -> None:
    assert open_context_writer(None) is None
