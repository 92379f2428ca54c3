"""`/v1/vector_stores/{id}/reindex`: what it answers, and what the store's object then says."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from gateway_support import Service
from knowledge import job_worker
from reindex_support import until_reindexed

from config.postgres import open_pool
from rag.testing import InMemoryEmbedder

MODEL = "all-MiniLM-L6-v2"
SIZES = {"max_chunk_size_tokens": 200, "chunk_overlap_tokens": 20}
STATIC = {"type": "static", "static": SIZES}
REFUSED: list[tuple[dict[str, Any], str | None, str | None]] = [
    ({"model": "bge"}, "model", "model_not_found"),
    ({"model": ""}, "model", None),
    ({"models": MODEL}, "models", None),
    ({"chunking_strategy": {"type": "semantic"}}, "chunking_strategy.type", None),
    (
        {"chunking_strategy": {"type": "static", "static": SIZES | {"chunk_overlap_tokens": 101}}},
        "chunking_strategy.static.chunk_overlap_tokens",
        None,
    ),
]


@pytest.fixture
async def store(http: httpx.AsyncClient) -> AsyncIterator[str]:
    """The path of a store without files."""
    made = (await http.post("/v1/vector_stores", json={"name": "to be read again"})).json()
    yield f"/v1/vector_stores/{made['id']}"
    await http.delete(f"/v1/vector_stores/{made['id']}")


async def test_the_store_tells_how_it_goes_and_is_as_before_when_it_is_given_up(
    http: httpx.AsyncClient, store: str
) -> None:
    assert "reindex" not in (await http.get(store)).json()
    answer = await http.post(f"{store}/reindex", json={"chunking_strategy": STATIC})
    assert answer.status_code == 202
    found = answer.json()["reindex"]
    assert found.pop("started_at") >= answer.json()["created_at"]
    assert found == {
        "status": "in_progress",
        "model": MODEL,
        "chunking_strategy": STATIC,
        "documents_done": 0,
        "documents_total": 0,
        "last_error": None,
    }
    assert (await http.get(store)).json()["reindex"]["status"] == "in_progress"
    cancelled = await http.delete(f"{store}/reindex")
    assert cancelled.status_code == 200
    assert "reindex" not in cancelled.json()
    assert (await http.delete(f"{store}/reindex")).status_code == 200


async def test_a_second_one_is_refused_while_the_first_goes_on(
    http: httpx.AsyncClient, store: str
) -> None:
    await http.post(f"{store}/reindex", json={})
    answer = await http.post(f"{store}/reindex", json={})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "reindex_in_progress")
    assert "cancel it" in error["message"]


@pytest.mark.parametrize(("body", "param", "code"), REFUSED)
async def test_what_can_not_be_done_is_refused_by_name(
    http: httpx.AsyncClient,
    store: str,
    body: dict[str, Any],
    param: str | None,
    code: str | None,
) -> None:
    answer = await http.post(f"{store}/reindex", json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, code), error
    assert error["param"] == param
    assert "reindex" not in (await http.get(store)).json()


async def test_a_failure_is_told_with_its_reason(
    service: Service, http: httpx.AsyncClient, store: str
) -> None:
    await http.post(f"{store}/reindex", json={"model": MODEL})
    database = service.database
    async with await open_pool(database, size=4) as pool, job_worker(pool, InMemoryEmbedder()):
        await until_reindexed(pool, store.rpartition("/")[2])
    found = (await http.get(store)).json()["reindex"]
    assert found["status"] == "failed"
    assert found["last_error"]["code"] == "server_error"
    assert MODEL in found["last_error"]["message"]
