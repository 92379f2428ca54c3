"""A stored answer is explained, and asked again of another version."""

import asyncio
import json

import httpx
import pytest
from gateway_support import Service
from typer.testing import CliRunner

from gateway import cli

CHAT = "/v1/agents/hr/chat"


async def test_an_answer_is_explained_to_its_owner_and_goes_with_its_session(
    http: httpx.AsyncClient, colleague: httpx.AsyncClient
) -> None:
    body = {"message": "병가는 며칠인가요?", "session_id": "traced"}
    reply = (await http.post(CHAT, json=body)).json()
    path = f"/v1/sessions/traced/messages/{reply['message_id']}/trace"
    trace = (await http.get(path)).json()
    assert trace["object"] == "agent.trace"
    assert (trace["model"], trace["agent_version"]) == ("extractive", reply["agent_version"])
    assert trace["index_version"] == reply["index_version"] != ""
    assert trace["searched"] == {"text": body["message"], "by": "none"}
    assert [each["cited"] for each in trace["candidates"]].count(1) == 1
    assert (await colleague.get(path)).status_code == 404
    named = await http.get(path, headers={"x-naru-end-user": "anna"})
    assert named.status_code == 404
    assert (await http.delete("/v1/sessions/traced")).status_code == 204
    assert (await http.get(path)).status_code == 404


async def test_a_replay_stores_nothing(http: httpx.AsyncClient) -> None:
    for message in ("연차 휴가는 며칠인가요?", "그럼 3년 차는요?"):
        body = {"message": message, "session_id": "again"}
        reply = (await http.post(CHAT, json=body)).json()
    path = f"/v1/sessions/again/messages/{reply['message_id']}/replay"
    told = (await http.post(path, json={"agent": "patient"})).json()
    assert told["question"] == "그럼 3년 차는요?"
    assert told["original"]["response"] == reply["response"]
    replayed = told["replayed"]
    assert (replayed["agent"], replayed["response"]) == ("patient", reply["response"])
    assert told["replayed_trace"]["searched"] == told["original_trace"]["searched"]
    assert told["original_trace"]["searched"]["by"] == "rule"
    assert len((await http.get("/v1/sessions/again/messages")).json()["data"]) == 4
    assert (await http.post(path, json={"agent": "nobody"})).status_code == 404


@pytest.mark.parametrize("as_json", [True, False])
async def test_the_command_prints_both(
    http: httpx.AsyncClient, service: Service, monkeypatch: pytest.MonkeyPatch, *, as_json: bool
) -> None:
    body = {"message": "병가는 며칠인가요?", "session_id": "printed"}
    reply = (await http.post(CHAT, json=body)).json()
    monkeypatch.setenv("NARU_URL", service.url)
    monkeypatch.setenv("NARU_API_KEY", service.key)
    argv = ["replay", "printed", reply["message_id"], "--agent", "patient"]
    argv += ["--json"] if as_json else []
    result = await asyncio.to_thread(CliRunner().invoke, cli.app, argv)
    assert result.exit_code == 0, result.output
    if as_json:
        assert json.loads(result.stdout)["replayed"]["agent"] == "patient"
    else:
        assert "hr@1, extractive" in result.stdout
        assert "| patient@1, extractive" in result.stdout
        assert result.stdout.count("handbook.md") >= 2
