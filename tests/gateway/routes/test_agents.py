"""The agent contract: answers, citations, sessions, streams, honest refusals."""

import json

import httpx
import pytest

CHAT = "/v1/agents/hr/chat"


async def _ask(http: httpx.AsyncClient, message: str, session_id: str | None = None) -> dict:
    body = {"message": message} | ({"session_id": session_id} if session_id else {})
    answer = await http.post(CHAT, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_an_answer_is_quoted_and_cited(http: httpx.AsyncClient) -> None:
    reply = await _ask(http, "연차 휴가는 며칠인가요?", "cited-1")
    assert "15일" in reply["response"]
    assert "[1]" in reply["response"]
    assert reply["session_id"] == "cited-1"
    assert (reply["agent"], reply["model"], reply["answered"]) == ("hr", "extractive", True)
    first = reply["references"][0]
    assert (first["index"], first["source"], first["page"]) == (1, "handbook.md", None)
    assert "15일" in first["content"]
    assert first["end"] - first["start"] == len(first["content"])
    assert reply["usage"]["total_tokens"] > 0


async def test_english_too(http: httpx.AsyncClient) -> None:
    reply = await _ask(http, "When are travel expenses reimbursed?")
    assert "30 days" in reply["response"]
    assert reply["session_id"].startswith("sess_")


@pytest.mark.parametrize(
    "question", ["주차장 요금은 얼마인가요?", "What is the capital of France?"]
)
async def test_what_the_documents_lack_is_not_answered(
    http: httpx.AsyncClient, question: str
) -> None:
    reply = await _ask(http, question)
    assert reply["references"] == []
    assert reply["answered"] is False
    assert "문서" in reply["response"] or "Not found in the documents" in reply["response"]


async def test_a_follow_up_uses_the_history(http: httpx.AsyncClient) -> None:
    await _ask(http, "연차 휴가는 며칠인가요?", "follow-1")
    reply = await _ask(http, "그럼 3년 차는요?", "follow-1")
    assert "16일" in reply["response"]
    messages = (await http.get("/v1/sessions/follow-1/messages")).json()["data"]
    assert [message["role"] for message in messages] == ["user", "assistant"] * 2
    assert messages[1]["references"][0]["source"] == "handbook.md"
    assert {message["status"] for message in messages} == {"complete"}


async def test_typed_events(http: httpx.AsyncClient) -> None:
    body = {"message": "병가는 며칠인가요?", "session_id": "events-1", "stream": True}
    answer = await http.post(CHAT, json=body)
    frames = [frame for frame in answer.text.split("\n\n") if frame]
    assert frames[-1] == "data: [DONE]"
    events = [json.loads(frame.split("data: ", 1)[1]) for frame in frames[:-1]]
    names = [frame.split("\n")[0].removeprefix("event: ") for frame in frames[:-1]]
    assert names == [event["type"] for event in events]
    assert names[:2] == ["session", "retrieval"]
    assert names[-2:] == ["citation", "done"]
    reply = events[-1]["reply"]
    text = "".join(event["text"] for event in events if event["type"] == "delta")
    assert text == reply["response"]
    assert "10일" in text
    stored = (await http.get("/v1/sessions/events-1/messages")).json()["data"]
    assert stored[-1]["content"] == text


async def test_the_ladder_falls_to_quotes(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/agents/patient/chat", json={"message": "병가는 며칠인가요?"})
    assert answer.json()["model"] == "extractive"
    assert "10일" in answer.json()["response"]


async def test_a_model_that_is_down_is_a_502_and_stores_nothing(http: httpx.AsyncClient) -> None:
    body = {"message": "병가는 며칠인가요?", "session_id": "unlucky-1"}
    for stream in (False, True):
        answer = await http.post("/v1/agents/unlucky/chat", json=body | {"stream": stream})
        assert answer.status_code == 502
        assert answer.json()["error"]["code"] == "upstream_unreachable"
    assert (await http.get("/v1/sessions/unlucky-1")).status_code == 404


async def test_the_openai_shape_of_an_agent(http: httpx.AsyncClient) -> None:
    body = {"model": "hr", "messages": [{"role": "user", "content": "병가는 며칠인가요?"}]}
    answer = (await http.post("/v1/agents/hr/chat/completions", json=body)).json()
    assert "10일" in answer["choices"][0]["message"]["content"]
    assert answer["references"][0]["index"] == 1
    assert answer["session_id"].startswith("sess_")


@pytest.mark.parametrize("named", [{}, {"model": ""}, {"model": "default"}, {"model": "gpt-4o"}])
async def test_the_path_names_the_agent(http: httpx.AsyncClient, named: dict[str, str]) -> None:
    body = {"messages": [{"role": "user", "content": "병가는 며칠인가요?"}], **named}
    answer = await http.post("/v1/agents/hr/chat/completions", json=body)
    assert answer.status_code == 200
    assert answer.headers["x-naru-agent"] == "hr"


async def test_agents_are_listed_and_shown(http: httpx.AsyncClient) -> None:
    names = [agent["name"] for agent in (await http.get("/v1/agents")).json()["data"]]
    assert "hr" in names
    assert (await http.get("/v1/agents/hr")).json()["model"] == "default"


@pytest.mark.parametrize(
    ("path", "body", "status", "param"),
    [
        (CHAT, {"message": ""}, 400, "message"),
        (CHAT, {"message": "  \n"}, 400, "message"),
        (CHAT, {"message": "가" * 1_000_000}, 413, None),
        (CHAT, {"message": "x" * 1_000_000}, 413, "message"),
        (CHAT, {"message": 3}, 400, "message"),
        (CHAT, {"message": None}, 400, "message"),
        (CHAT, {}, 400, "message"),
        (CHAT, {"message": "x", "mesage": "y"}, 400, "mesage"),
        (CHAT, {"message": "x", "session_id": ""}, 400, "session_id"),
        (CHAT, {"message": "x", "session_id": "a\nb"}, 400, "session_id"),
        (CHAT, {"message": "x", "session_id": "s" * 257}, 400, "session_id"),
        (CHAT, {"message": "a\0b"}, 400, None),
        (CHAT, {"message": "x", "session_id": "a\0b"}, 400, None),
        ("/v1/agents/nobody/chat", {"message": "x"}, 404, None),
        ("/v1/agents/%00/chat", {"message": "x"}, 404, None),
        ("/v1/agents/hr%0a/chat", {"message": "x"}, 404, None),
    ],
)
async def test_bad_requests(
    http: httpx.AsyncClient, path: str, body: dict, status: int, param: str | None
) -> None:
    answer = await http.post(path, json=body)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["param"] == param
    assert error["message"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b'{"message": "\\ud800"}',
        b'{"message": "\xff"}',
        b'{"message": "\xed\xa0\x80"}',
        b'{"message": "x",}',
        b"\x00",
    ],
)
async def test_malformed_bodies(http: httpx.AsyncClient, body: bytes) -> None:
    answer = await http.post(CHAT, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


async def test_unknown_fields_are_named(http: httpx.AsyncClient) -> None:
    answer = await http.post(CHAT, json={"message": "x", "temprature": 1})
    assert "temprature" in answer.json()["error"]["message"]
