"""Rerankers behind a URL, and the one without a model."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from config.settings import RerankerSettings
from rag.errors import RerankerUnavailable
from rag.rerank import Reranker, open_reranker
from rag.testing import InMemoryReranker

Handler = Callable[[web.Request], Awaitable[web.Response]]


@asynccontextmanager
async def api(handler: Handler) -> AsyncIterator[Reranker]:
    app = web.Application()
    app.router.add_post("/v2/rerank", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/v2"
    settings = {"model": "judge", "url": url, "api_key": "k", "timeout_s": 1}
    reranker = open_reranker(RerankerSettings.model_validate(settings), Path("unused"))
    assert reranker
    yield reranker
    await reranker.close()
    await runner.cleanup()


async def test_scores_are_in_the_order_of_the_texts() -> None:
    async def cohere(request: web.Request) -> web.Response:
        assert request.headers["authorization"] == "Bearer k"
        body = await request.json()
        documents = body.pop("documents")
        assert body == {"model": "judge", "query": "q", "max_tokens_per_doc": 7}
        found = [{"index": n, "relevance_score": len(d) / 10} for n, d in enumerate(documents)]
        return web.json_response({"id": "x", "results": sorted(found, key=lambda r: -r["index"])})

    async with api(cohere) as reranker:
        assert await reranker.rerank("q", ["a" * 3, "b", "c" * 40], max_tokens=7) == [0.3, 0.1, 1.0]
        assert await reranker.rerank("q", []) == []


async def test_text_embeddings_inference_is_spoken_to_in_its_words() -> None:
    asked: list[set[str]] = []

    async def tei(request: web.Request) -> web.Response:
        body = await request.json()
        asked.append(set(body))
        if "texts" not in body:
            return web.json_response({"error": "missing field `texts`"}, status=422)
        return web.json_response([{"index": n, "score": 0.5} for n in range(len(body["texts"]))])

    async with api(tei) as reranker:
        assert await reranker.rerank("q", ["a", "b"]) == [0.5, 0.5]
        await reranker.check()
    assert [("texts" in names) for names in asked] == [False, True, True]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, {}),
        (422, {}),
        (200, {"results": []}),
        (200, {"results": [{"index": 0, "relevance_score": 1}, {"index": 5}]}),
        (200, "nonsense"),
    ],
)
async def test_a_failure_is_told(status: int, body: object) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.json_response(body, status=status)

    async with api(handler) as reranker:
        with pytest.raises(RerankerUnavailable):
            await reranker.rerank("q", ["a", "b"])


async def test_an_api_that_never_answers() -> None:
    async def handler(request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with api(handler) as reranker:
        with pytest.raises(RerankerUnavailable):
            await reranker.check()


async def test_a_worker_that_is_not_there(tmp_path: Path) -> None:
    reranker = open_reranker(RerankerSettings(model="/models/judge"), tmp_path)
    assert reranker
    assert reranker.model == "judge"
    with pytest.raises(RerankerUnavailable):
        await reranker.check()
    assert open_reranker(RerankerSettings(), tmp_path) is None


async def test_the_twin_counts_the_questions_words() -> None:
    twin = InMemoryReranker()
    scores = await twin.rerank("paid leave", ["Leave is paid.", "paid", "nothing"])
    assert scores == [1.0, 0.5, 0.0]
    assert await twin.rerank("paid", ["not paid"], max_tokens=1) == [0.0]
    assert twin.asked[1] == ("paid", ("not paid",))
