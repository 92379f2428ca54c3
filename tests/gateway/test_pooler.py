"""A web worker whose every query goes through PgBouncer in transaction mode."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from gateway_support import Service, client_of, replica_of
from pooler_support import needs_pooler, run_pooler

pytestmark = needs_pooler


@pytest.fixture
async def pooled(
    service: Service, sockets: Path, data_dir: Path, redis_url: str, tmp_path: Path
) -> AsyncIterator[httpx.AsyncClient]:
    with run_pooler(service.database, tmp_path, size=4) as url:
        settings = {
            "data_dir": data_dir,
            "redis": {"url": redis_url},
            "database": {"pooler_url": url},
        }
        async with (
            replica_of(service, sockets, settings) as opened,
            client_of(opened, opened.key) as client,
        ):
            yield client


async def test_sessions_searches_and_turns(pooled: httpx.AsyncClient, service: Service) -> None:
    async def turn(number: int) -> httpx.Response:
        body = {"message": "연차 휴가는 며칠인가요?", "session_id": f"pooled-{number % 8}"}
        return await pooled.post("/v1/agents/hr/chat", json=body)

    answers = await asyncio.gather(*map(turn, range(32)))
    assert [answer.status_code for answer in answers] == [200] * 32
    assert all("15일" in answer.json()["response"] for answer in answers)
    told = await pooled.get("/v1/sessions/pooled-0/messages", params={"limit": 100})
    assert len(told.json()["data"]) == 8
    search = await pooled.post(f"/v1/vector_stores/{service.store}/search", json={"query": "휴가"})
    assert search.json()["data"]


async def test_tokens_and_objects(pooled: httpx.AsyncClient, service: Service) -> None:
    answer = await pooled.post(
        "/oauth/token",
        data={"grant_type": "client_credentials"},
        auth=(service.client.client_id, service.client.client_secret),
    )
    assert answer.status_code == 200
    made = await pooled.post("/v1/vector_stores", json={"name": "pooled"})
    assert (await pooled.delete(f"/v1/vector_stores/{made.json()['id']}")).status_code == 200
