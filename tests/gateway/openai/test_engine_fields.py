"""What reaches an engine, and what never does."""

import time
from typing import Any

import msgspec
import pytest

from gateway.errors import InvalidRequest
from gateway.openai.chat_request import ChatRequest
from gateway.openai.completions import CompletionRequest
from gateway.openai.engine_fields import engine_fields

HI = [{"role": "user", "content": "hi"}]


def check(request: type[Any] = ChatRequest, **fields: Any) -> dict[str, Any]:
    given = {"prompt": "a"} if request is CompletionRequest else {"messages": HI}
    body = {"model": "m", **given, **fields}
    asked = msgspec.json.decode(msgspec.json.encode(body), type=request)
    return engine_fields(asked, body, max_choices=8)


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = {"properties": {"a": schema}}
    return schema


def json_schema(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}


def tool(parameters: dict[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", "parameters": parameters}}


@pytest.mark.parametrize(
    "fields",
    [
        {"top_k": 40, "min_p": 0.1, "repetition_penalty": 1.1},
        {"structured_outputs": {"choice": ["yes", "no"]}},
        {"structured_outputs": {"regex": r"[a-z]{1,10}@[a-z]{1,10}"}},
        {"chat_template_kwargs": {"enable_thinking": False}},
        {"tools": [tool({"type": "object"})], "tool_choice": "required"},
        {"response_format": json_schema({"type": "object", "maxProperties": 3})},
        {"continue_final_message": True, "add_generation_prompt": False},
    ],
)
def test_what_is_harmless_goes_on_as_it_is(fields: dict[str, Any]) -> None:
    assert check(**fields).items() >= fields.items()


def test_how_closely_to_look_at_an_image_is_no_word_for_an_engine() -> None:
    parts = [
        {"type": "text", "text": "see"},
        {"type": "image_url", "image_url": {"url": "data:,", "detail": "original"}},
    ]
    (message,) = check(messages=[{"role": "user", "content": parts}])["messages"]
    assert message["content"][1]["image_url"] == {"url": "data:,"}


@pytest.mark.parametrize(
    "name",
    [
        *("chat_template", "cache_salt", "mm_processor_kwargs", "priority", "request_id"),
        *("kv_transfer_params", "logits_processors", "use_beam_search", "prompt_logprobs"),
        *("documents", "media_io_kwargs", "vllm_xargs", "truncate_prompt_tokens", "nonsense"),
        *("prompt_embeds", "return_token_ids", "session_id", "stream_interval", "echo"),
    ],
)
def test_what_is_not_known_is_refused_by_name(name: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        check(**{name: "x"})
    assert refused.value.param == name


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 9}, "n"),
        ({"audio": {"voice": "a", "format": "mp3"}}, "audio"),
        ({"modalities": ["audio"]}, "modalities"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"tools": [{"type": "custom", "custom": {}}]}, "tools[0].type"),
        ({"tool_choice": {"type": "allowed_tools", "allowed_tools": {}}}, "tool_choice"),
        ({"response_format": json_schema(nested(40))}, "response_format.json_schema.schema"),
        ({"tools": [tool(nested(40))]}, "tools[0].function.parameters"),
        (
            {"response_format": json_schema({"enum": list(range(6000))})},
            "response_format.json_schema.schema",
        ),
        (
            {"response_format": json_schema({"type": "array", "maxItems": 10**6})},
            "response_format.json_schema.schema (maxItems)",
        ),
        (
            {"response_format": json_schema({"pattern": "((a{99}){99}){99}"})},
            "response_format.json_schema.schema (pattern)",
        ),
        ({"structured_outputs": {"regex": "(a{0999}){99}"}}, "structured_outputs.regex"),
        ({"structured_outputs": {"regex": "a{" + "9" * 900 + "}"}}, "structured_outputs.regex"),
        ({"structured_outputs": {"json": nested(40)}}, "structured_outputs.json"),
        ({"structured_outputs": {"json": {"$ref": "#"}}}, "structured_outputs.json"),
        ({"structured_outputs": {}}, "structured_outputs"),
        ({"structured_outputs": {"regex": "a", "choice": ["a"]}}, "structured_outputs"),
    ],
)
def test_what_would_hurt_the_engine_is_refused(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        check(**fields)
    assert refused.value.param == param


@pytest.mark.parametrize(
    "fields",
    [
        {"top_k": 10**9},
        {"min_p": 2},
        {"repetition_penalty": 0},
        {"stop_token_ids": [-1]},
        {"bad_words": ["a"] * 65},
        {"chat_template_kwargs": {"tools": []}},
        {"structured_outputs": {"structural_tag": "x"}},
        {"structured_outputs": {"grammar": "root ::= root"}},
    ],
)
def test_vllms_own_fields_are_bounded(fields: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        check(**fields)


def test_what_is_hidden_in_a_part_does_not_reach_the_engine() -> None:
    part = {"type": "text", "text": "a", "image_url": {"url": "http://10.0.0.1"}, "uuid": "x"}
    fields = check(messages=[{"role": "user", "content": [part], "cache_control": 1}])
    assert fields["messages"] == [{"role": "user", "content": [{"type": "text", "text": "a"}]}]


def test_text_completions_have_their_own_fields() -> None:
    assert check(CompletionRequest, echo=True, top_k=3)["echo"]
    for name, value in {"suffix": "x", "best_of": 2, "tools": []}.items():
        with pytest.raises(InvalidRequest) as refused:
            check(CompletionRequest, **{name: value})
        assert refused.value.param == name


def test_the_largest_schema_is_checked_in_no_time() -> None:
    schema = {"properties": {str(n): {"type": "string", "pattern": "a{9}"} for n in range(1600)}}
    begin = time.thread_time()
    check(response_format=json_schema(schema))
    assert time.thread_time() - begin < 0.2
