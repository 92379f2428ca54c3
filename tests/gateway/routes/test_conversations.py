"""`/v1/conversations`: items, and the same history as `/v1/sessions`."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from aiohttp import web
from openai_schema import faults
from responses_support import check_stream, make, make_stream, text_of
from upstream_support import COMPLETION, HI, ROLE, Upstream, json_answer

PATH = "/v1/conversations"
MODEL = "fake/gpt-x"
QUESTION = "병가는 며칠인가요?"


async def begin(http: httpx.AsyncClient, **body: Any) -> str:
    made = (await http.post(PATH, json=body)).json()
    assert not faults(made, "ConversationResource")
    return str(made["id"])


async def items_of(http: httpx.AsyncClient, conversation: str) -> list[dict[str, Any]]:
    answer = await http.get(f"{PATH}/{conversation}/items", params={"order": "asc", "limit": 100})
    assert not faults(answer.json(), "ConversationItemList")
    return answer.json()["data"]


def says(upstream: Upstream, message: dict[str, Any], finish: str = "stop") -> None:
    body = json.dumps({"choices": [{"message": message, "finish_reason": finish}]}).encode()
    upstream.answer = lambda _: json_answer(body)


async def test_a_conversation_is_made_read_changed_and_deleted(http: httpx.AsyncClient) -> None:
    conversation = await begin(http, metadata={"topic": "leave"})
    path = f"{PATH}/{conversation}"
    found = (await http.get(path)).json()
    assert (found["id"], found["metadata"]) == (conversation, {"topic": "leave"})
    changed = (await http.post(path, json={"metadata": {"topic": "pay"}})).json()
    assert not faults(changed, "ConversationResource")
    assert changed["metadata"] == {"topic": "pay"}
    emptied = await http.post(path, json={"metadata": None})
    assert (emptied.status_code, emptied.json()["metadata"]) == (200, {})
    assert (await http.post(path, json={})).status_code == 400
    gone = (await http.delete(path)).json()
    assert not faults(gone, "DeletedConversationResource")
    for method in ("GET", "DELETE"):
        answer = await http.request(method, path)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (404, "conversation_not_found")
        assert error["param"] is None


async def test_items_of_every_kind(http: httpx.AsyncClient) -> None:
    items = [
        {"role": "user", "content": "weather?"},
        {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
        {"type": "function_call", "call_id": "c", "name": "weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "sun"},
        {"role": "assistant", "content": "sunny"},
    ]
    conversation = await begin(http, items=items[:2])
    path = f"{PATH}/{conversation}/items"
    added = (await http.post(path, json={"items": items[2:]})).json()
    assert not faults(added, "ConversationItemList")
    listed = await items_of(http, conversation)
    kinds = ["message", "reasoning", "function_call", "function_call_output", "message"]
    assert [item["type"] for item in listed] == kinds
    assert len({item["id"] for item in listed}) == 5
    one = (await http.get(f"{path}/{listed[2]['id']}")).json()
    assert not faults(one, "ConversationItem")
    assert one == listed[2]
    await http.delete(f"{path}/{listed[2]['id']}")
    assert await items_of(http, conversation) == listed[:2] + listed[3:]
    first = (await http.get(path, params={"limit": 3})).json()
    rest = (await http.get(path, params={"after": first["last_id"]})).json()
    assert (first["has_more"], rest["has_more"]) == (True, False)
    assert first["data"] + rest["data"] == (listed[:2] + listed[3:])[::-1]
    assert (await http.get(path, params={"after": "msg_0"})).status_code == 404


async def test_a_callers_ids_are_not_taken_over(
    http: httpx.AsyncClient, colleague: httpx.AsyncClient
) -> None:
    """Else an id of another's would answer differently than one that nobody has."""
    item = {"role": "user", "content": "x"}
    mine = (await items_of(http, await begin(http, items=[item])))[0]["id"]
    conversation = await begin(colleague, items=[item | {"id": mine}])
    assert (await items_of(colleague, conversation))[0]["id"] != mine
    await colleague.delete(f"{PATH}/{conversation}")


async def test_a_model_goes_on_with_a_conversation(
    http: httpx.AsyncClient, upstream: Upstream
) -> None:
    conversation = await begin(http, items=[{"role": "developer", "content": "Be brief."}])
    call = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    tools = [{"type": "function", "name": "weather", "parameters": None, "strict": False}]
    says(upstream, {"content": None, "tool_calls": [call]}, "tool_calls")
    body = {"model": MODEL, "conversation": conversation, "tools": tools}
    response = await make(http, **body, input="weather?")
    assert response["conversation"] == {"id": conversation}
    says(upstream, {"content": "sunny"})
    output = [{"type": "function_call_output", "call_id": "c", "output": "sun"}]
    await make(http, **body | {"conversation": {"id": conversation}}, input=output)
    sent = upstream.asked[-1]["messages"]
    assert [message["role"] for message in sent] == ["system", "user", "assistant", "tool"]
    said = await items_of(http, conversation)
    kinds = ["message", "message", "function_call", "function_call_output", "message"]
    assert [item["type"] for item in said] == kinds
    assert said[2]["id"] == response["output"][0]["id"]


async def test_what_broke_off_is_kept_as_a_part(
    http: httpx.AsyncClient, upstream: Upstream
) -> None:
    conversation = await begin(http)
    upstream.stream(ROLE, HI)
    check_stream(await make_stream(http, model=MODEL, conversation=conversation, input="?"))
    user, said = await items_of(http, conversation)
    assert (user["status"], said["status"]) == ("completed", "incomplete")
    assert said["content"][0]["text"] == "hi"


async def test_an_agents_session_is_a_conversation(http: httpx.AsyncClient) -> None:
    body = {"message": QUESTION, "session_id": "twofold"}
    reply = (await http.post("/v1/agents/hr/chat", json=body)).json()
    question, answer = await items_of(http, "twofold")
    assert question["content"][0]["text"] == QUESTION
    assert answer["id"] == reply["message_id"]
    (part,) = answer["content"]
    assert part["text"] == reply["response"]
    for citation in part["annotations"]:
        assert part["text"][citation["index"] :].startswith("[")
    assert part["annotations"][0]["file_id"] == reply["references"][0]["document_id"]
    response = await make(http, model="hr", conversation="twofold", input="그럼 연차는요?")
    assert "15일" in text_of(response)
    messages = (await http.get("/v1/sessions/twofold/messages")).json()["data"]
    assert [message["role"] for message in messages] == ["user", "assistant"] * 2
    assert messages[-1]["id"] == response["output"][0]["id"]
    assert (await http.delete("/v1/sessions/twofold")).status_code == 204
    assert (await http.get(f"{PATH}/twofold")).status_code == 404


async def test_an_agent_goes_on_with_a_conversation_of_a_model(
    http: httpx.AsyncClient, upstream: Upstream
) -> None:
    conversation = await begin(http)
    says(upstream, {"content": "병가는 10일입니다."})
    await make(http, model=MODEL, conversation=conversation, input=QUESTION)
    reply = (
        await http.post(
            "/v1/agents/clever/chat",
            json={"message": "연차 휴가는 며칠인가요?", "session_id": conversation},
        )
    ).json()
    assert reply["session_id"] == conversation
    said = [message["content"] for message in upstream.asked[-1]["messages"][1:]]
    assert said[:-1] == [QUESTION, "병가는 10일입니다."]
    assert said[-1].endswith("</passage>\n\n연차 휴가는 며칠인가요?")
    assert len(await items_of(http, conversation)) == 4


@pytest.mark.parametrize("model", [MODEL, "hr"])
async def test_a_conversation_of_another_is_not_there(
    http: httpx.AsyncClient, colleague: httpx.AsyncClient, model: str
) -> None:
    conversation = await begin(http)
    for body in ({"stream": True}, {"background": True}, {}):
        answers = [
            await colleague.post(
                "/v1/responses",
                json={"model": model, "input": QUESTION, "conversation": name, **body},
            )
            for name in (conversation, "conv_nothing")
        ]
        assert [answer.status_code for answer in answers] == [404, 404]
        assert answers[0].json() == answers[1].json()
        assert answers[0].json()["error"]["param"] == "conversation"


async def test_end_users_are_kept_apart(http: httpx.AsyncClient) -> None:
    anna = {"x-naru-end-user": "anna"}
    made = (await http.post(PATH, json={}, headers=anna)).json()
    assert (await http.get(f"{PATH}/{made['id']}", headers=anna)).status_code == 200
    assert (await http.get(f"{PATH}/{made['id']}")).status_code == 404


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"items": [{"role": "user", "content": "x"}] * 21}, "items"),
        ({"items": [{"type": "web_search_call", "id": "x"}]}, "items[0].type"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"name": "x"}, None),
    ],
)
async def test_what_is_no_conversation(
    http: httpx.AsyncClient, body: dict[str, Any], param: str | None
) -> None:
    answer = await http.post(PATH, json=body)
    assert answer.status_code == 400
    assert (answer.json()["error"]["param"] or "").startswith(param or "")


async def test_an_agents_turn_waits_for_a_models_and_knows_it(
    http: httpx.AsyncClient, upstream: Upstream
) -> None:
    conversation, go_on = await begin(http), asyncio.Event()

    async def answer(_: web.Request) -> web.StreamResponse:
        await go_on.wait()
        return await json_answer(COMPLETION)

    before, upstream.answer = len(upstream.asked), answer
    body = {"conversation": conversation}
    first = asyncio.create_task(make(http, **body, model=MODEL, input="first"))
    async with asyncio.timeout(10):
        while len(upstream.asked) == before:
            await asyncio.sleep(0.01)
    second = asyncio.create_task(make(http, **body, model="hr", input=QUESTION))
    done, _ = await asyncio.wait({first, second}, timeout=0.5)
    assert not done
    go_on.set()
    await asyncio.gather(first, second)
    said = [item["content"][0]["text"] for item in await items_of(http, conversation)]
    assert said[:3] == ["first", "hi", QUESTION]
