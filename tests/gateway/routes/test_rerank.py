"""`/v1/rerank`, in front of a server that scores by the words in common."""

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import httpx
import pytest
from aiohttp import web
from gateway_support import Service, client_of, replica_of

from rag.testing import InMemoryReranker

PATH = "/v1/rerank"
AWAY = "fail"
ASKED = {
    "model": "judge",
    "query": "paid leave",
    "documents": ["a cat", "Leave is paid.", "paid", "PAID leave"],
}


QUERIES: list[str] = []
"""What the server was asked."""


async def score(request: web.Request) -> web.Response:
    body = await request.json()
    QUERIES.append(body["query"])
    if body["query"] == AWAY:
        raise web.HTTPServiceUnavailable
    scores = await InMemoryReranker().rerank(body["query"], body["documents"])
    results = [{"index": n, "relevance_score": each} for n, each in enumerate(scores)]
    return web.json_response({"results": results})


@pytest.fixture(scope="module")
async def scoring() -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/rerank", score)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.fixture(scope="module")
async def replica(
    service: Service, redis_url: str, sockets: Path, data_dir: Path, scoring: str
) -> AsyncIterator[Service]:
    """A second replica of `service`, which has the reranker `judge`."""
    settings = {
        "data_dir": data_dir,
        "redis": {"url": redis_url},
        "reranker": {"model": "judge", "url": scoring},
    }
    async with replica_of(service, sockets, settings) as opened:
        yield opened


@pytest.fixture
async def ranked(replica: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(replica, replica.key) as client:
        yield client


async def test_documents_come_back_best_first(ranked: httpx.AsyncClient) -> None:
    answer = (await ranked.post(PATH, json=ASKED)).json()
    assert set(answer) == {"id", "results", "meta"}
    assert answer["meta"] == {"api_version": {"version": "2"}}
    assert answer["results"] == [
        {"index": 1, "relevance_score": 1.0},
        {"index": 3, "relevance_score": 1.0},
        {"index": 2, "relevance_score": 0.5},
        {"index": 0, "relevance_score": 0.0},
    ]


async def test_a_call_is_one_record(ranked: httpx.AsyncClient, replica: Service) -> None:
    name, fence = uuid.uuid4().hex, uuid.uuid4().hex
    for each in (name, fence):
        answer = await ranked.post(PATH, json=ASKED, headers={"x-request-id": each})
        assert answer.status_code == 200
    con = await asyncpg.connect(replica.database)
    query = "SELECT kind, model, target, ending, cost FROM usage_records WHERE request_id = $1"
    try:
        # Records are stored in the order of their ends.
        while not await con.fetch(query, fence):
            await con.fetch("SELECT pg_sleep(0.05)")
        (row,) = await con.fetch(query, name)
    finally:
        await con.close()
    assert tuple(row) == ("rerank", "judge", "judge", "completed", None)


async def test_the_best_alone_with_their_documents(ranked: httpx.AsyncClient) -> None:
    asked = ASKED | {"top_n": 1, "return_documents": True, "max_tokens_per_doc": 4096}
    results = (await ranked.post(PATH, json=asked)).json()["results"]
    assert results == [{"index": 1, "relevance_score": 1.0, "document": {"text": "Leave is paid."}}]
    many = ASKED | {"top_n": 50, "documents": ["paid"] * 1000}
    assert len((await ranked.post(PATH, json=many)).json()["results"]) == 50


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"documents": []}, 400, "documents"),
        ({"documents": ["a"] * 1001}, 400, "documents"),
        ({"documents": ["a" * 100_001]}, 400, "documents[0]"),
        ({"documents": ["a" * 99_000] * 41}, 400, "documents"),
        ({"documents": [""]}, 400, "documents[0]"),
        ({"documents": "a"}, 400, "documents"),
        ({"query": ""}, 400, "query"),
        ({"top_n": 0}, 400, "top_n"),
        ({"rank_fields": ["a"]}, 400, "rank_fields"),
        ({"model": "hr"}, 404, "model"),
    ],
)
async def test_bad_requests(
    ranked: httpx.AsyncClient, fields: dict[str, object], status: int, param: str | None
) -> None:
    answer = await ranked.post(PATH, json=ASKED | fields)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["param"] == param


async def test_the_model_is_listed_for_those_who_may_use_it(
    ranked: httpx.AsyncClient, replica: Service
) -> None:
    listed = {model["id"] for model in (await ranked.get("/v1/models")).json()["data"]}
    assert "judge" in listed
    async with client_of(replica, replica.limited_key) as limited:
        assert (await limited.get("/v1/models/judge")).status_code == 404
        assert (await limited.post(PATH, json=ASKED)).status_code == 404
    async with client_of(replica, replica.librarian_key) as librarian:
        assert (await librarian.post(PATH, json=ASKED)).status_code == 403


async def test_without_a_reranker_it_says_what_to_set(http: httpx.AsyncClient) -> None:
    answer = await http.post(PATH, json=ASKED)
    assert answer.status_code == 400
    assert "reranker.model" in answer.json()["error"]["message"]


async def test_readiness_asks_the_reranker(ranked: httpx.AsyncClient) -> None:
    assert "reranker" not in (await ranked.get("/health/ready")).json()["degraded"]
    answer = await ranked.post(PATH, json=ASKED | {"query": AWAY})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["error"]["code"] == "reranker_unavailable"


async def test_an_agent_s_search_asks_the_reranker(ranked: httpx.AsyncClient) -> None:
    question = "How many days of annual leave?"
    answer = await ranked.post("/v1/agents/hr/chat", json={"message": question})
    assert answer.status_code == 200
    assert QUERIES[-1] == question
