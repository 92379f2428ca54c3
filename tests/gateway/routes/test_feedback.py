"""`/v1/feedback` and what came of it."""

import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from gateway_support import Service, client_of

import auth
from auth.profile import default_scopes
from config.errors import ConfigError
from config.postgres import open_pool
from config.settings import AuthSettings
from gateway.commands.feedback import FORMS, compared, export, table
from gateway.credentials import Credentials

ASKED = "How many days of annual leave are there?"


async def answered(http: httpx.AsyncClient, **headers: str) -> Any:
    body = {"message": ASKED, "session_id": uuid.uuid4().hex}
    answer = await http.post("/v1/agents/hr/chat", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def rate(http: httpx.AsyncClient, message: str, rating: str = "up", **more: Any) -> Any:
    body = {"message_id": message, "rating": rating} | more
    return await http.post("/v1/feedback", json=body)


@pytest.fixture
async def admin(service: Service, data_dir: Path) -> AsyncIterator[httpx.AsyncClient]:
    box = auth.SecretBox.load(AuthSettings(), data_dir)
    async with await open_pool(service.database, size=1, role="naru_auth") as identity:
        made = await auth.create_client(
            *(identity, box, "acme"),
            name="admin",
            role="admin",
            scopes=default_scopes("admin") | {"admin"},
        )
        key = await auth.create_key(identity, box, made.client_id)
    async with client_of(service, key.key) as client:
        yield client


async def listed(admin: httpx.AsyncClient) -> list[Any]:
    found: list[Any] = []
    query: dict[str, Any] = {"limit": 2}
    while True:
        page = (await admin.get("/admin/feedback", params=query)).json()
        found += page["data"]
        if page["next"] is None:
            return found
        query["after"] = page["next"]


async def test_an_answer_is_rated_and_the_last_rating_counts(
    http: httpx.AsyncClient, admin: httpx.AsyncClient
) -> None:
    turn = await answered(http)
    first = await rate(http, turn["message_id"], "down", comment="too long")
    assert first.status_code == 200, first.text
    assert first.json()["comment"] == "too long"
    last = await rate(http, turn["message_id"], "up", corrected_answer="15 days.")
    assert last.json() == {
        "object": "feedback",
        "message_id": turn["message_id"],
        "rating": "up",
        "comment": None,
        "corrected_answer": "15 days.",
        "agent": "hr",
        "agent_version": turn["agent_version"],
        "created": last.json()["created"],
    }
    assert turn["agent_version"]
    (kept,) = [each for each in await listed(admin) if each["message_id"] == turn["message_id"]]
    assert (kept["question"], kept["answer"]) == (ASKED, turn["response"])
    assert kept["references"] == turn["references"]
    gone = await http.delete(f"/v1/feedback/{turn['message_id']}")
    assert gone.json() == {
        "id": turn["message_id"],
        "object": "feedback.deleted",
        "deleted": True,
    }
    assert (await http.delete(f"/v1/feedback/{turn['message_id']}")).status_code == 404


async def test_it_goes_with_its_session(http: httpx.AsyncClient, admin: httpx.AsyncClient) -> None:
    turn = await answered(http)
    await rate(http, turn["message_id"])
    await http.delete(f"/v1/sessions/{turn['session_id']}")
    assert turn["message_id"] not in {each["message_id"] for each in await listed(admin)}


async def test_only_the_owner_rates(
    http: httpx.AsyncClient, colleague: httpx.AsyncClient, stranger: httpx.AsyncClient
) -> None:
    turn = await answered(http)
    for other in (colleague, stranger):
        refused = await rate(other, turn["message_id"])
        assert refused.status_code == 404
        assert refused.json()["error"]["code"] == "message_not_found"
        assert (await other.delete(f"/v1/feedback/{turn['message_id']}")).status_code == 404
    someone = {"x-naru-end-user": "anna"}
    body = {"message_id": turn["message_id"], "rating": "up"}
    refused = await http.post("/v1/feedback", json=body, headers=someone)
    assert refused.status_code == 404


async def test_only_answers_are_rated(http: httpx.AsyncClient) -> None:
    turn = await answered(http)
    path = f"/v1/sessions/{turn['session_id']}/messages"
    question = (await http.get(path)).json()["data"][0]
    assert question["role"] == "user"
    for message in (question["id"], "msg_unknown"):
        assert (await rate(http, message)).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"message_id": "m"},
        {"message_id": "m", "rating": 5},
        {"message_id": "m", "rating": "up", "stars": 5},
        {"message_id": "m", "rating": "up", "comment": "x" * 20_001},
    ],
)
async def test_what_is_no_feedback_is_refused(http: httpx.AsyncClient, body: Any) -> None:
    refused = await http.post("/v1/feedback", json=body)
    assert refused.status_code == 400
    assert refused.json()["error"]["message"]


async def test_versions_are_compared(http: httpx.AsyncClient, admin: httpx.AsyncClient) -> None:
    turn = await answered(http)
    await rate(http, turn["message_id"])
    answer = await admin.get("/admin/feedback/compare", params={"agent": "hr"})
    found = answer.json()
    (version,) = [v for v in found["versions"] if v["version"] == turn["agent_version"]]
    assert version["up"] >= 1
    assert version["low"] <= version["share"] <= version["high"]
    assert len(table(found)) == 1 + len(found["versions"]) + len(found["differences"])
    assert (await http.get("/admin/feedback")).status_code == 403


async def test_the_command_line_exports_and_compares(
    http: httpx.AsyncClient, admin: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.commands.feedback._PAGE", 1)
    rated = [(await answered(http))["message_id"] for _ in range(2)]
    for message in rated:
        await rate(http, message)
    key = admin.headers["authorization"].removeprefix("Bearer ")
    here = Credentials(url=str(admin.base_url).rstrip("/"), api_key=key)
    lines: list[str] = []
    await export(here, "hr", "full", lines.append)
    assert set(rated) <= {json.loads(line)["message_id"] for line in lines}
    with pytest.raises(ConfigError, match="no form"):
        await export(here, "hr", "nonsense", lines.append)
    assert (await compared(here, "hr"))["agent"] == "hr"


def test_what_is_exported() -> None:
    turn = {
        "up": True,
        "question": "How many?",
        "answer": "15 days. [1]",
        "corrected": None,
        "references": [{"source": "a.pdf", "page": 3, "content": "15 days"}],
    }
    dialogue = {
        "messages": [
            {"role": "user", "content": "How many?"},
            {"role": "assistant", "content": "15 days. [1]"},
        ]
    }
    assert list(FORMS["chat"](turn)) == [dialogue]
    (question,) = FORMS["eval"](turn)
    assert question == {
        "question": "How many?",
        "answers": [{"source": "a.pdf", "page": 3, "contains": "15 days"}],
    }
    assert list(FORMS["chat"](turn | {"up": False})) == []
    assert list(FORMS["eval"](turn | {"up": False})) == []
    (corrected,) = FORMS["chat"](turn | {"up": False, "corrected": "20 days."})
    assert json.dumps(corrected).count("20 days.") == 1
