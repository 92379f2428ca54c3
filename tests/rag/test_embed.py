"""Both embedders, against servers of their kind."""

import asyncio
import json
import math
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from config.settings import EmbeddingSettings
from rag.embed import Embedder, open_embedder, open_embedders
from rag.embedding_wire import tokenizer_file
from rag.embedding_worker import serve
from rag.errors import EmbedderUnavailable, TextRefused
from rag.local_model import Model
from rag.tokenizer import TokenizerSource

calls: list[list[str]] = []


def encode(texts: list[str]) -> bytes:
    """A model that knows only lengths."""
    calls.append(texts)
    if "poison" in texts:
        raise ZeroDivisionError
    return b"".join(array("f", [len(text), 1.0]).tobytes() for text in texts)


def count(texts: list[str]) -> list[int]:
    return [len(text.split()) for text in texts]


@asynccontextmanager
async def worker(socket: Path) -> AsyncIterator[None]:
    stop = asyncio.Event()
    model = Model(encode, 2, count, 5, {"query": "query: ", "document": ""})
    task = asyncio.create_task(serve(model, socket, stop))
    while not socket.exists():  # noqa: ASYNC240 - what a supervisor does
        await asyncio.sleep(0.01)
    yield
    stop.set()
    await task


@pytest.fixture
async def embedder(tmp_path: Path) -> AsyncIterator[Embedder]:
    calls.clear()
    opened = open_embedder(EmbeddingSettings(timeout_s=5), tmp_path / "s")
    yield opened
    await opened.close()


async def test_concurrent_requests_get_their_own_answers(
    embedder: Embedder, tmp_path: Path
) -> None:
    async with worker(tmp_path / "s"):
        assert embedder.dimensions == 0
        batches = [["a" * n, "b" * (n + 1)] for n in range(1, 30)]
        answers = await asyncio.gather(*(embedder.embed(texts) for texts in batches))
        assert embedder.dimensions == 2
    assert [[vector[0] for vector in answer] for answer in answers] == [
        [len(text) for text in texts] for texts in batches
    ]
    assert len(calls) < len(batches)


async def test_a_long_list_keeps_its_order(embedder: Embedder, tmp_path: Path) -> None:
    async with worker(tmp_path / "s"):
        vectors = await embedder.embed(["x" * n for n in range(100)])
    assert [vector[0] for vector in vectors] == list(range(100))


async def test_a_question_is_remembered(embedder: Embedder, tmp_path: Path) -> None:
    async with worker(tmp_path / "s"):
        first = await embedder.embed(["question"], "query")
        assert await embedder.embed(["question"], "query") == first
        assert await embedder.embed([]) == await embedder.embed([], "query") == []
        assert await embedder.embed(["question"]) != first
    assert calls == [["query: question"], ["question"]]


async def test_the_sentences_used_last_are_remembered(
    embedder: Embedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lengths(*texts: str) -> list[float]:
        return [vector[0] for vector in await embedder.embed(texts, "sentence")]

    monkeypatch.setattr("rag.embed._REMEMBERED_SENTENCES", 3 * 2)
    async with worker(tmp_path / "s"):
        assert await lengths("a", "bbb", "a") == [1, 3, 1]
        assert await lengths("cc", "a") == [2, 1]
        assert await lengths("dddd") == [4]  # instead of `bbb`
        assert await lengths("a", "cc", "dddd", "bbb") == [1, 2, 4, 3]
        assert await lengths("eeeee", "f", "gg", "hhh") == [5, 1, 2, 3]  # more than there is room
    assert calls[:4] == [["a", "bbb"], ["cc"], ["dddd"], ["bbb"]]


async def test_one_question_asked_fifty_times_at_once_is_embedded_once(
    embedder: Embedder, tmp_path: Path
) -> None:
    async with worker(tmp_path / "s"):
        asked = [asyncio.create_task(embedder.embed(["question"], "query")) for _ in range(50)]
        await asyncio.sleep(0)
        asked[0].cancel()
        answers = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert all(answer == answers[1] for answer in answers[1:])
    assert len(answers[1][0]) == 2
    assert calls == [["query: question"]]


async def test_several_questions_form_one_batch(embedder: Embedder, tmp_path: Path) -> None:
    async with worker(tmp_path / "s"):
        await embedder.embed(["warm"], "query")
        vectors = await embedder.embed(["a", "bb", "a"], "query")
    assert [vector[0] for vector in vectors] == [8, 9, 8]
    assert [len(batch) for batch in calls[1:]] in ([2], [1, 1])


async def test_the_limit_is_known_once_the_model_has_answered(
    embedder: Embedder, tmp_path: Path
) -> None:
    assert embedder.max_tokens is None
    async with worker(tmp_path / "s"):
        await embedder.embed(["a"])
    assert embedder.max_tokens == 5


async def test_a_model_without_a_fast_tokenizer_leaves_an_estimate(
    embedder: Embedder, tmp_path: Path
) -> None:
    with pytest.raises(EmbedderUnavailable):
        await embedder.tokenizer()
    async with worker(tmp_path / "s"):
        assert await embedder.tokenizer() == TokenizerSource(limit=5)
        tokenizer_file(tmp_path / "s").touch()
        source = await embedder.tokenizer()
    assert source == TokenizerSource(str(tmp_path / "s.tokenizer.json"))


async def test_a_check_is_never_answered_from_memory(embedder: Embedder, tmp_path: Path) -> None:
    async with worker(tmp_path / "s"):
        await embedder.check()
        await embedder.check()
    assert len(calls) == 2
    with pytest.raises(EmbedderUnavailable):
        await embedder.check()


async def test_whole_texts_are_counted(embedder: Embedder, tmp_path: Path) -> None:
    async with worker(tmp_path / "s"):
        vectors, tokens = await embedder.embed_whole(["one two", "one two three four five"])
    assert [vector[0] for vector in vectors] == [7, 23]
    assert tokens == 7


async def test_a_text_that_would_be_cut_is_refused(embedder: Embedder, tmp_path: Path) -> None:
    async with worker(tmp_path / "s"):
        with pytest.raises(TextRefused, match="6 tokens are more than the 5") as refused:
            await embedder.embed_whole(["one", "one two three four five six"])
        assert len(await embedder.embed(["one two three four five six"])) == 1
    assert (refused.value.code, refused.value.index) == ("context_length_exceeded", 1)
    assert calls == [["one two three four five six"]]


async def test_it_connects_again(embedder: Embedder, tmp_path: Path) -> None:
    for question in ("one", "second"):
        async with worker(tmp_path / "s"):
            assert (await embedder.embed([question]))[0][0] == len(question)


async def test_nobody_listens(embedder: Embedder) -> None:
    with pytest.raises(EmbedderUnavailable):
        await embedder.embed(["question"])


async def test_a_failing_model_is_reported_and_the_worker_goes_on(
    embedder: Embedder, tmp_path: Path
) -> None:
    async with worker(tmp_path / "s"):
        with pytest.raises(EmbedderUnavailable, match="ZeroDivisionError"):
            await embedder.embed(["poison"])
        assert len(await embedder.embed(["good"])) == 1


async def test_a_worker_that_never_answers(tmp_path: Path) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_unix_server(silent, tmp_path / "s")
    embedder = open_embedder(EmbeddingSettings(timeout_s=0.05), tmp_path / "s")
    with pytest.raises(EmbedderUnavailable):
        await embedder.embed(["question"])
    await embedder.close()
    server.close()
    await server.wait_closed()


async def test_lone_surrogates_are_no_fault(embedder: Embedder, tmp_path: Path) -> None:
    async with worker(tmp_path / "s"):
        assert len(await embedder.embed(["a\ud800b"])) == 1


Handler = Callable[[web.Request], Awaitable[web.Response]]


@asynccontextmanager
async def api(handler: Handler, fields: dict[str, str] | None = None) -> AsyncIterator[Embedder]:
    """An OpenAI-compatible embeddings API, and an embedder that asks it."""
    app = web.Application()
    app.router.add_post("/v1/embeddings", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    settings = EmbeddingSettings.model_validate(
        {"model": "m", "url": f"http://127.0.0.1:{port}/v1", "api_key": "k", "timeout_s": 2}
        | (fields or {})
    )
    embedder = open_embedder(settings, Path("unused"))
    yield embedder
    await embedder.close()
    await runner.cleanup()


async def test_a_remote_answer_is_ordered_and_normalised() -> None:
    async def handler(request: web.Request) -> web.Response:
        body = await request.json()
        assert request.headers["authorization"] == "Bearer k"
        assert body["model"] == "m"
        data = [{"index": i, "embedding": [len(t), 0, 1]} for i, t in enumerate(body["input"])]
        return web.json_response({"data": data[::-1]})

    async with api(handler) as embedder:
        vectors = await embedder.embed(["x" * n for n in range(100)])
        assert embedder.dimensions == 3
    assert len(vectors) == 100
    assert vectors[3][0] == pytest.approx(3 / math.hypot(3, 1))
    assert all(math.hypot(*vector) == pytest.approx(1) for vector in vectors)


@pytest.mark.parametrize(
    ("status", "body"),
    [(500, {}), (200, {"data": []}), (200, {"data": [{"index": 0}]}), (429, {"error": "slow"})],
)
async def test_a_remote_failure(status: int, body: dict[str, object]) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(status=status, body=json.dumps(body).encode())

    async with api(handler) as embedder:
        with pytest.raises(EmbedderUnavailable):
            await embedder.embed(["question"])


async def test_a_remote_refusal_of_a_whole_text() -> None:
    async def handler(request: web.Request) -> web.Response:
        if "long" in (await request.json())["input"]:
            return web.Response(status=400, text="too long")
        answer = {"data": [{"index": 0, "embedding": [1, 0]}], "usage": {"prompt_tokens": 3}}
        return web.json_response(answer)

    async with api(handler) as embedder:
        assert (await embedder.embed_whole(["short"])).tokens == 3
        with pytest.raises(TextRefused):
            await embedder.embed_whole(["long"])
        with pytest.raises(EmbedderUnavailable):
            await embedder.embed(["long"])


async def test_a_remote_model_is_told_what_its_texts_are_for() -> None:
    seen: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        texts = (await request.json())["input"]
        seen.extend(texts)
        data = [{"index": i, "embedding": [1, 0]} for i in range(len(texts))]
        return web.json_response({"data": data})

    prompts = {"query_prompt": "query: ", "document_prompt": "passage: "}
    async with api(handler, prompts) as embedder:
        await embedder.embed(["a"], "query")
        await embedder.embed(["a"])
        await embedder.embed_whole(["a"])
        assert await embedder.tokenizer() == TokenizerSource(None, None, "passage: ")
        assert embedder.max_tokens == 512
    assert seen == ["query: a", "passage: a", "a"]


def test_models_are_found_by_name_and_by_space(tmp_path: Path) -> None:
    settings = EmbeddingSettings.model_validate(
        {"others": {"e5": {"model": "/models/e5-small", "languages": ["en", "ko"]}}}
    )
    embedders = open_embedders(settings, tmp_path)
    e5 = embedders.named("e5")
    assert e5
    assert embedders.of(e5.space) is e5
    assert embedders.named("all-MiniLM-L6-v2") is embedders.default
    assert embedders.of(embedders.default.space) is embedders.default
    assert embedders.named("e6") is embedders.of("another") is None


async def test_a_check_asks_every_model(tmp_path: Path) -> None:
    settings = EmbeddingSettings.model_validate({"others": {"e5": {"model": "e5"}}})
    embedders = open_embedders(settings, tmp_path)
    async with worker(tmp_path / "embedding.sock"):
        with pytest.raises(EmbedderUnavailable):
            await embedders.check()
        async with worker(tmp_path / "embedding-e5.sock"):
            await embedders.check()
    await embedders.close()


def test_other_languages_are_another_space(tmp_path: Path) -> None:
    english, both = (
        open_embedder(EmbeddingSettings(languages=languages), tmp_path)
        for languages in (("en",), ("en", "ko"))
    )
    assert english.model == both.model == "all-MiniLM-L6-v2"
    assert english.space != both.space
