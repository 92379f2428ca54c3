"""Chat and text completion requests: what is taken, and which field an error names."""

from typing import Any

import msgspec
import pytest

from gateway.openai.chat_request import ChatRequest
from gateway.openai.completions import CompletionRequest
from gateway.openai.embeddings import EmbeddingRequest

HI = {"role": "user", "content": "hi"}
PIXEL = {
    "type": "image_url",
    "image_url": {"url": "data:image/png;base64,AAAA", "detail": "original"},
}
SOUND = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def chat(**fields: Any) -> ChatRequest:
    body = {"model": "m", "messages": [HI], **fields}
    return msgspec.json.decode(msgspec.json.encode(body), type=ChatRequest)


EVERY_FIELD: dict[str, Any] = {
    "stream": True,
    "stream_options": {"include_usage": True, "include_obfuscation": False},
    "temperature": 2,
    "top_p": 1,
    "max_tokens": 1,
    "max_completion_tokens": 1,
    "n": 128,
    "seed": -(2**63),
    "stop": ["a", "b", "c", "d"],
    "presence_penalty": -2,
    "frequency_penalty": 2,
    "logit_bias": {"50256": -100},
    "logprobs": True,
    "top_logprobs": 20,
    "tools": [TOOL, {"type": "custom", "custom": {"name": "c"}}],
    "tool_choice": {"type": "function", "function": {"name": "f"}},
    "parallel_tool_calls": False,
    "functions": [{"name": "f"}],
    "function_call": {"name": "f"},
    "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {}}},
    "reasoning_effort": "none",
    "verbosity": "low",
    "prediction": {"type": "content", "content": [{"type": "text", "text": "a"}]},
    "modalities": ["text", "audio"],
    "audio": {"voice": "alloy", "format": "mp3"},
    "web_search_options": {"search_context_size": "low"},
    "moderation": {"model": "m"},
    "service_tier": "flex",
    "store": True,
    "metadata": {"a": "b"},
    "user": "u",
    "safety_identifier": "s",
    "prompt_cache_key": "k",
    "prompt_cache_retention": "24h",
    "prompt_cache_options": {"mode": "implicit"},
}


def test_every_field_of_openai_is_taken() -> None:
    assert chat(**EVERY_FIELD) != chat()
    assert set(EVERY_FIELD) == set(ChatRequest.__struct_fields__) - {"model", "messages"}


def test_null_means_absent() -> None:
    assert chat(**dict.fromkeys(EVERY_FIELD)) == chat()


@pytest.mark.parametrize(
    "message",
    [
        {"role": "system", "content": [{"type": "text", "text": "a"}]},
        {"role": "developer", "content": "a", "name": "n"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, PIXEL, SOUND]},
        {"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]},
        {"role": "assistant", "content": None, "tool_calls": [CALL], "refusal": None},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
        {"role": "assistant", "refusal": "no", "audio": None, "annotations": []},
        {"role": "tool", "content": "a", "tool_call_id": "call_1"},
        {"role": "function", "content": None, "name": "f"},
    ],
)
def test_messages_of_every_role(message: dict[str, Any]) -> None:
    (found,) = chat(messages=[message]).messages
    taken = {k: v for k, v in message.items() if v is not None and k != "annotations"}
    assert (
        msgspec.to_builtins(found).items()
        >= {k: v for k, v in taken.items() if k != "content"}.items()
    )


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"messages": []}, "$.messages"),
        ({"messages": [{"role": "user"}]}, "$.messages[0]"),
        ({"messages": [{"role": "robot", "content": "a"}]}, "$.messages[0].role"),
        ({"messages": [{"role": "tool", "content": "a"}]}, "$.messages[0]"),
        ({"messages": [{"role": "assistant"}]}, "$.messages[0]"),
        ({"messages": [{"role": "assistant", "content": None}]}, "$.messages[0]"),
        ({"messages": [{"role": "user", "content": []}]}, "$.messages[0].content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "video_url"}]}]},
            "$.messages[0].content[0].type",
        ),
        ({"messages": [{"role": "system", "content": [PIXEL]}]}, "$.messages[0].content[0].type"),
        ({"n": 0}, "$.n"),
        ({"n": 129}, "$.n"),
        ({"temperature": 2.1}, "$.temperature"),
        ({"top_p": -0.1}, "$.top_p"),
        ({"top_logprobs": 21}, "$.top_logprobs"),
        ({"max_tokens": 0}, "$.max_tokens"),
        ({"max_completion_tokens": 0}, "$.max_completion_tokens"),
        ({"seed": 2**63}, "$.seed"),
        ({"stop": list("abcde")}, "$.stop"),
        ({"stop": []}, "$.stop"),
        ({"presence_penalty": 3}, "$.presence_penalty"),
        ({"logit_bias": {"1": 101}}, "$.logit_bias[...]"),
        ({"logit_bias": {"a": 1}}, "`key` in `$.logit_bias"),
        ({"logit_bias": {"1\n": 1}}, "`key` in `$.logit_bias"),
        ({"tools": [TOOL] * 129}, "$.tools"),
        ({"tools": [{"type": "search"}]}, "$.tools[0].type"),
        ({"tools": [{"type": "function", "function": {}}]}, "$.tools[0].function"),
        ({"tool_choice": "maybe"}, "$.tool_choice"),
        ({"response_format": {"type": "xml"}}, "$.response_format.type"),
        (
            {"tools": [{"type": "function", "function": {"name": "a\n"}}]},
            "$.tools[0].function.name",
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "a b"}}},
            "$.response_format.json_schema.name",
        ),
        ({"metadata": {str(n): "" for n in range(17)}}, "$.metadata"),
        ({"metadata": {"a": "x" * 513}}, "$.metadata[...]"),
        ({"safety_identifier": "x" * 65}, "$.safety_identifier"),
        ({"stream_options": {"include_usage": 1}}, "$.stream_options.include_usage"),
        ({"reasoning_effort": "hard"}, "$.reasoning_effort"),
    ],
)
def test_the_field_at_fault_is_named(fields: dict[str, Any], path: str) -> None:
    with pytest.raises(msgspec.ValidationError) as refused:
        chat(**fields)
    assert path in str(refused.value)


def complete(**fields: Any) -> CompletionRequest:
    body = {"model": "m", "prompt": "a", **fields}
    return msgspec.json.decode(msgspec.json.encode(body), type=CompletionRequest)


@pytest.mark.parametrize("prompt", ["", "a", ["a", "b"], [1, 2], [[1, 2], [3]], [1] * 1000])
def test_prompts_are_texts_or_tokens(prompt: object) -> None:
    assert complete(prompt=prompt).prompt == prompt


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": []},
        {"prompt": [[]]},
        {"prompt": ["a", 1]},
        {"prompt": ["a", [1]]},
        {"prompt": [1, -1]},
        {"prompt": ["a"] * 129},
        {"prompt": None},
        {"logprobs": 6},
        {"best_of": 21},
        {"max_tokens": -1},
    ],
)
def test_completion_requests_are_bounded(fields: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        complete(**fields)


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("a", True),
        (["a"] * 2048, True),
        ([1, 2], True),
        ([[1], [2]], True),
        ([1] * 5000, True),
        ("", False),
        (["a", ""], False),
        ([], False),
        ([[]], False),
        (["a", 1], False),
        (["a"] * 2049, False),
    ],
)
def test_inputs_of_embeddings(given: object, taken: bool) -> None:
    body = msgspec.json.encode({"model": "m", "input": given})
    if taken:
        assert msgspec.json.decode(body, type=EmbeddingRequest).input == given
    else:
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(body, type=EmbeddingRequest)
