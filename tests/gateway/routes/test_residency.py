"""Prompts that must not leave: by the request's header, and by the rule of the client."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from gateway_support import Service, client_of
from upstream_support import Upstream

from auth import SecretBox, create_client, create_key
from config.postgres import open_pool
from config.settings import Settings

CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"
QUESTION = [{"role": "user", "content": "연차 휴가는 며칠인가요?"}]


@pytest.fixture(scope="module")
async def local_credentials(service: Service, data_dir: Path) -> tuple[str, str]:
    """An API key and a token of a client whose prompts stay."""
    box = SecretBox.load(Settings().auth, data_dir)
    async with await open_pool(service.database, size=1, role="naru_auth") as identity:
        made = await create_client(identity, box, "acme", name="stays", residency="local")
        key = (await create_key(identity, box, made.client_id)).key
    async with httpx.AsyncClient(base_url=service.url) as http:
        basic = (made.client_id, made.client_secret)
        form = {"grant_type": "client_credentials"}
        answer = await http.post("/oauth/token", data=form, auth=basic)
    return key, answer.json()["access_token"]


@pytest.fixture(params=["key", "token"])
async def local(
    request: pytest.FixtureRequest, service: Service, local_credentials: tuple[str, str]
) -> AsyncIterator[httpx.AsyncClient]:
    credential = local_credentials[request.param == "token"]
    async with client_of(service, credential) as client:
        yield client


@pytest.mark.parametrize("model", ["smart", "fake/gpt-x"])
async def test_a_clients_prompts_stay(
    local: httpx.AsyncClient, upstream: Upstream, model: str
) -> None:
    asked = len(upstream.asked)
    for residency in ({}, {"x-naru-residency": "any"}):
        body = {"model": model, "messages": QUESTION}
        answer = await local.post(CHAT, json=body, headers=residency)
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == "no_local_target"
    assert len(upstream.asked) == asked


async def test_an_agents_questions_stay_too(local: httpx.AsyncClient, upstream: Upstream) -> None:
    asked = len(upstream.asked)
    body = {"message": "연차 휴가는 며칠인가요?"}
    assert (await local.post("/v1/agents/clever/chat", json=body)).status_code == 400
    answer = await local.post("/v1/agents/patient/chat", json=body)
    assert (answer.status_code, answer.json()["model"]) == (200, "extractive")
    assert len(upstream.asked) == asked


async def test_embeddings_stay_too(local: httpx.AsyncClient, upstream: Upstream) -> None:
    asked = len(upstream.asked)
    body = {"model": "fake/embed-x", "input": "휴가"}
    assert (await local.post("/v1/embeddings", json=body)).status_code == 400
    assert len(upstream.asked) == asked


async def test_a_header_keeps_one_request(http: httpx.AsyncClient, upstream: Upstream) -> None:
    asked = len(upstream.asked)
    body = {"model": "fake/gpt-x", "messages": QUESTION}
    answer = await http.post(CHAT, json=body, headers={"x-naru-residency": "local"})
    assert answer.json()["error"]["code"] == "no_local_target"
    assert len(upstream.asked) == asked


@pytest.mark.parametrize("model", ["smart", "clever"])
async def test_responses_stay_too_at_once_and_in_the_background(
    local: httpx.AsyncClient, http: httpx.AsyncClient, upstream: Upstream, model: str
) -> None:
    asked = len(upstream.asked)
    body = {"model": model, "input": "연차 휴가는 며칠인가요?"}
    header = {"x-naru-residency": "local"}
    for client, headers in ((local, {}), (http, header)):
        for stream in (False, True):
            answer = await client.post(RESPONSES, json=body | {"stream": stream}, headers=headers)
            assert answer.json()["error"]["code"] == "no_local_target"
        queued = await client.post(RESPONSES, json=body | {"background": True}, headers=headers)
        path = f"{RESPONSES}/{queued.json()['id']}"
        async with asyncio.timeout(20):
            while (found := (await client.get(path)).json())["status"] != "failed":
                await asyncio.sleep(0.02)
        assert found["error"]["code"] == "invalid_prompt"
    assert len(upstream.asked) == asked
