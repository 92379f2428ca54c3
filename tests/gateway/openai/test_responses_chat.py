"""Requests and items become chats, and what a chat says becomes the same items again."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.openai.chat_request import ChatRequest
from gateway.openai.normalise import Normaliser
from gateway.openai.response_items import Item, read_items
from gateway.openai.responses import Response
from gateway.openai.responses_chat import chat_fields, chat_messages, said_by
from gateway.openai.responses_request import read_request
from gateway.responses.draft import Draft

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
CALL = st.builds(
    lambda id_, name, arguments: {
        "id": id_,
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    },
    st.text("abc123", min_size=1, max_size=8),
    st.text("abc_", min_size=1, max_size=8),
    TEXT,
)
TURN = st.fixed_dictionaries(
    {},
    optional={
        "reasoning_content": TEXT,
        "content": TEXT,
        "tool_calls": st.lists(CALL, min_size=1, max_size=3),
    },
).filter(lambda message: message.keys() - {"reasoning_content"})


def draft_of(*payloads: bytes) -> Draft:
    draft = Draft(Response(id="resp_1", created_at=0, model="m", reasoning={}, text={}))
    for payload in payloads:
        for part in said_by(payload):
            draft.take(part)
    draft.finish()
    return draft


def whole(message: dict[str, Any]) -> bytes:
    body = msgspec.json.encode({"choices": [{"message": message, "finish_reason": "stop"}]})
    return Normaliser("chat", "m").completion(body)


def in_chunks(message: dict[str, Any], size: int) -> list[bytes]:
    """The message as a stream tells it, cut into pieces."""
    deltas: list[dict[str, Any]] = []
    for name in ("reasoning_content", "content"):
        text = message.get(name, "")
        deltas += [{name: text[at : at + size]} for at in range(0, len(text), size)]
    for index, call in enumerate(message.get("tool_calls", ())):
        arguments = call["function"]["arguments"]
        begun = {"index": index, "id": call["id"], "type": "function"}
        deltas.append({"tool_calls": [begun | {"function": {"name": call["function"]["name"]}}]})
        for at in range(0, len(arguments), size):
            part = {"index": index, "function": {"arguments": arguments[at : at + size]}}
            deltas.append({"tool_calls": [part]})
    choices = [{"delta": delta} for delta in deltas] + [{"delta": {}, "finish_reason": "stop"}]
    mend = Normaliser("chat", "m")
    return [
        mend.chunk(msgspec.json.encode({"choices": [choice]}), usage="none") for choice in choices
    ]


def messages_of(*items: dict[str, Any], with_reasoning: bool = True) -> list[dict[str, Any]]:
    messages = chat_messages(read_items(list(items), "input"), with_reasoning=with_reasoning)
    if messages:
        msgspec.convert({"model": "m", "messages": messages}, ChatRequest)
    return messages


@settings(max_examples=60, deadline=None)
@given(st.lists(TURN, min_size=1, max_size=4), st.integers(1, 5))
def test_what_a_model_says_comes_back_to_it_as_it_was(
    turns: list[dict[str, Any]], size: int
) -> None:
    items: list[Item] = []
    expected: list[dict[str, Any]] = []
    for turn in turns:
        question = {"role": "user", "content": "?"}
        draft = draft_of(whole(turn))
        streamed = draft_of(*in_chunks(turn, size))
        assert _nameless(streamed) == _nameless(draft)
        items += [*read_items([question], "input"), *draft.response.output]
        expected += [question, {"role": "assistant", **turn}]
    assert chat_messages(items, with_reasoning=True) == expected
    # As a client sends them back: through JSON.
    told = msgspec.json.decode(msgspec.json.encode(items))
    assert chat_messages(read_items(told, "input"), with_reasoning=True) == expected


@pytest.mark.parametrize(
    ("given", "told"), [({}, ""), ({"arguments": None}, ""), ({"arguments": {"a": 1}}, '{"a":1}')]
)
def test_arguments_are_told_as_a_string(given: dict[str, Any], told: str) -> None:
    call = {"index": 0, "id": "a", "type": "function", "function": {"name": "f", **given}}
    body = msgspec.json.encode({"choices": [{"delta": {"tool_calls": [call]}}]})
    streamed = Normaliser("chat", "m").chunk(body, usage="none")
    for payload in (whole({"tool_calls": [call]}), streamed):
        (item,) = _nameless(draft_of(payload))
        assert (item["name"], item["arguments"]) == ("f", told)


def _nameless(draft: Draft) -> list[Any]:
    output = msgspec.to_builtins(draft.response.output)
    return [item | {"id": ""} for item in output]


def test_what_belongs_to_one_turn_is_one_message() -> None:
    thought = {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "hm"}]}
    calls = [
        {"type": "function_call", "call_id": id_, "name": "f", "arguments": "{}"} for id_ in "ab"
    ]
    outputs = [{"type": "function_call_output", "call_id": id_, "output": id_} for id_ in "ab"]
    said = {"role": "assistant", "content": "done"}
    first, *tools, last = messages_of(thought, *calls, *outputs, said)
    assert first["reasoning_content"] == "hm"
    assert [call["id"] for call in first["tool_calls"]] == ["a", "b"]
    assert [tool["content"] for tool in tools] == ["a", "b"]
    assert last == {"role": "assistant", "content": "done"}


def test_two_answers_in_a_row_stay_two() -> None:
    said = {"role": "assistant", "content": "x"}
    assert messages_of(said, said) == [said, said]


def test_thoughts_go_to_engines_alone_and_never_by_themselves() -> None:
    thought = {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "hm"}]}
    said = {"role": "assistant", "content": "x"}
    assert messages_of(thought, said, with_reasoning=False) == [said]
    assert messages_of(thought) == []
    sealed = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"}
    assert messages_of(sealed, said) == [said]


def test_searches_leave_nothing() -> None:
    call = {"type": "file_search_call", "id": "fs_1", "queries": ["q"], "status": "completed"}
    assert messages_of(call) == []


def test_roles_and_parts() -> None:
    png = "data:image/png;base64,iVBORw0KGgoAAAAA"
    parts = [
        {"type": "input_text", "text": "see"},
        {"type": "input_image", "image_url": png, "detail": "low"},
    ]
    refused = {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "refusal", "refusal": "no"}],
    }
    developer, user, assistant = messages_of(
        {"role": "developer", "content": "order"}, {"role": "user", "content": parts}, refused
    )
    assert developer == {"role": "system", "content": "order"}
    assert user["content"][1] == {"type": "image_url", "image_url": {"url": png, "detail": "low"}}
    assert assistant == {"role": "assistant", "refusal": "no"}


def test_fields_of_a_chat() -> None:
    asked = read_request(
        {
            "model": "m",
            "max_output_tokens": 16,
            "reasoning": {"effort": "low", "summary": "auto"},
            "text": {"format": {"type": "json_object"}, "verbosity": "high"},
            "tools": [{"type": "function", "name": "f", "parameters": {}, "strict": True}],
            "tool_choice": {"type": "function", "name": "f"},
            "parallel_tool_calls": False,
            "metadata": {"a": "b"},
            "store": True,
            "user": None,
        }
    )
    fields = chat_fields(asked)
    assert fields == {
        "max_completion_tokens": 16,
        "reasoning_effort": "low",
        "verbosity": "high",
        "response_format": {"type": "json_object"},
        "tools": [
            {"type": "function", "function": {"name": "f", "parameters": {}, "strict": True}}
        ],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "parallel_tool_calls": False,
    }
    body = fields | {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    msgspec.convert(body, ChatRequest)


def test_a_nul_that_a_model_says_can_be_stored() -> None:
    draft = draft_of(whole({"content": "a\0b"}))
    assert draft.response.output[0].parts[0].text == "a\ufffdb"  # type: ignore[union-attr]


def test_top_logprobs_go_with_logprobs_alone() -> None:
    asked: dict[str, Any] = {"model": "m", "input": "a", "top_logprobs": 0}
    assert chat_fields(read_request(asked)) == {}
    asked["include"] = ["message.output_text.logprobs"]
    assert chat_fields(read_request(asked)) == {"logprobs": True, "top_logprobs": 0}
