"""VMware Private AI Services' way of asking agents: sessions, context, pages."""

import json
import uuid
from typing import Any

import httpx
import pytest
from gateway_support import Service
from openai import AsyncOpenAI

AGENTS = "/api/v1/compatibility/openai/v1/agents"
PATH = f"{AGENTS}/hr/chat/completions"


def said(text: str = "연차 휴가는 며칠인가요?", **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **more}


async def test_without_a_session_nothing_is_kept(http: httpx.AsyncClient) -> None:
    answer = await http.post(PATH, json=said())
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["object"] == "chat.completion"
    assert "15일" in body["choices"][0]["message"]["content"]
    assert "session_id" not in body
    (context,) = body["index_context_info"]
    (reference,) = body["references"]
    assert context["text"] == reference["content"]
    assert (context["origin_name"], context["score"]) == ("handbook.md", reference["score"])
    assert context["document_id"] == reference["document_id"]
    assert context["metadata"]["chunk_id"] == reference["chunk_id"]
    assert answer.headers["x-naru-agent"] == "hr"


async def test_a_session_is_made_and_goes_on_wherever_it_is_named(http: httpx.AsyncClient) -> None:
    first = (await http.post(PATH, json=said(create_session=True))).json()
    session = first["session_id"]
    assert str(uuid.UUID(session)) == session
    follow_up = said("그럼 3년 차는요?")
    for answer in (
        await http.post(PATH, json=follow_up | {"session_id": session}),
        await http.post(PATH, json=follow_up | {"store_in_session": session}),
        await http.post(PATH, json=follow_up, params={"session_id": session}),
        await http.post(PATH, json=follow_up, headers={"x-pais-session-id": session}),
        await http.post(
            PATH, json=follow_up | {"session_id": session}, headers={"session-id": session}
        ),
    ):
        assert answer.json()["session_id"] == session
        assert "16일" in answer.json()["choices"][0]["message"]["content"]
    messages = (await http.get(f"/v1/sessions/{session}/messages")).json()["data"]
    assert len(messages) == 12
    other = await http.post(PATH, json=said(session_id="other"), params={"session_id": session})
    assert other.status_code == 400
    assert other.json()["error"]["param"] == "session_id"
    await http.delete(f"/v1/sessions/{session}")


async def test_a_stream_ends_with_its_context(http: httpx.AsyncClient) -> None:
    answer = await http.post(PATH, json=said(stream=True), params={"create_session": "true"})
    frames = [frame.removeprefix("data: ") for frame in answer.text.split("\n\n") if frame]
    assert frames[-1] == "[DONE]"
    chunks = [json.loads(frame) for frame in frames[:-1]]
    assert len({chunk["session_id"] for chunk in chunks}) == 1
    told = [chunk for chunk in chunks if "index_context_info" in chunk]
    assert told == chunks[-1:]
    assert told[0]["choices"][0]["finish_reason"] == "stop"
    await http.delete(f"/v1/sessions/{chunks[0]['session_id']}")


@pytest.mark.parametrize(
    ("model", "status"), [("", 200), ("default", 200), ("hr", 200), ("x", 400)]
)
async def test_the_model_is_the_agents(http: httpx.AsyncClient, model: str, status: int) -> None:
    answer = await http.post(PATH, json=said(model=model))
    assert answer.status_code == status
    if status == 400:
        assert answer.json()["error"]["param"] == "model"


async def test_the_openai_client_reaches_it(service: Service) -> None:
    async with AsyncOpenAI(base_url=f"{service.url}{AGENTS}/hr", api_key=service.key) as client:
        answer = await client.chat.completions.create(
            model="", messages=[{"role": "user", "content": "병가는 며칠인가요?"}]
        )
    assert "10일" in (answer.choices[0].message.content or "")


async def test_agents_are_listed_in_pages(http: httpx.AsyncClient) -> None:
    names = [each["name"] for each in (await http.get("/v1/agents")).json()["data"]]
    whole = (await http.get(AGENTS, params={"limit": 100})).json()
    assert [each["id"] for each in whole["data"]] == names
    assert (whole["object"], whole["has_more"]) == ("list", False)
    page = (await http.get(AGENTS, params={"limit": 1, "offset": 1})).json()
    assert (page["first_id"], page["last_id"], page["has_more"]) == (names[1], names[1], True)
    back = (await http.get(AGENTS, params={"limit": 1, "order": "desc"})).json()
    assert back["first_id"] == names[-1]
    one = (await http.get(f"{AGENTS}/hr")).json()
    assert one in whole["data"]
    assert (one["model"], one["index_top_n"]) == ("default", 5)
    assert one["metadata"] == {"version": "1"}


async def test_another_tenants_is_not_there(stranger: httpx.AsyncClient) -> None:
    assert (await stranger.get(AGENTS)).json()["data"] == []
    assert (await stranger.post(PATH, json=said())).status_code == 404
