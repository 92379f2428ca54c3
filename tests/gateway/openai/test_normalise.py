"""Whatever a server answers in OpenAI's words fits OpenAI's schema afterwards."""

import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai_schema import faults

from gateway.openai.normalise import Normaliser

VLLM = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1_700_000_000,
    "model": "tiny",
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "hi",
                "refusal": None,
                "annotations": None,
                "audio": None,
                "function_call": None,
                "tool_calls": [],
                "reasoning": "hm",
            },
            "logprobs": None,
            "finish_reason": "stop",
            "stop_reason": None,
            "token_ids": None,
            "routed_experts": None,
        }
    ],
    "service_tier": None,
    "system_fingerprint": None,
    "usage": {
        "prompt_tokens": 10,
        "total_tokens": 12,
        "completion_tokens": 2,
        "prompt_tokens_details": {"cached_tokens": 8, "created_cache_tokens": None},
        "completion_tokens_details": None,
    },
    "prompt_logprobs": None,
    "kv_transfer_params": None,
}


def complete(answer: object, kind: Any = "chat") -> dict[str, Any]:
    body = Normaliser(kind, "engine/tiny").completion(msgspec.json.encode(answer))
    return msgspec.json.decode(body)


def stream(*chunks: object, kind: Any = "chat", usage: Any = "none") -> list[dict[str, Any]]:
    mending = Normaliser(kind, "engine/tiny")
    payloads = [mending.chunk(msgspec.json.encode(chunk), usage=usage) for chunk in chunks]
    return [msgspec.json.decode(payload) for payload in payloads]


def delta(**fields: object) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields}]}


def test_vllms_nulls_go_and_its_reasoning_has_the_usual_name() -> None:
    answer = complete(VLLM)
    assert not faults(answer, "CreateChatCompletionResponse")
    (choice,) = answer["choices"]
    assert choice["message"] == {
        "role": "assistant",
        "content": "hi",
        "refusal": None,
        "reasoning_content": "hm",
    }
    assert choice.keys() == {"index", "message", "logprobs", "finish_reason"}
    assert answer.keys() == {"id", "object", "created", "model", "choices", "usage"}
    assert answer["usage"]["prompt_tokens_details"] == {"cached_tokens": 8}


def test_what_a_server_leaves_out_is_filled_in() -> None:
    answer = complete({"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]})
    assert not faults(answer, "CreateChatCompletionResponse")
    assert answer["model"] == "engine/tiny"
    assert answer["id"].startswith("chatcmpl-")
    assert abs(answer["created"] - time.time()) < 60


def test_what_openai_does_not_know_is_passed_on() -> None:
    answer = complete(VLLM | {"citations": ["https://a.example"], "service_tier": "on_demand"})
    assert answer["citations"] == ["https://a.example"]
    assert "service_tier" not in answer


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("stop", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("tool_use", "tool_calls"),
        ("repetition", "stop"),
    ],
)
def test_an_end_is_told_in_openais_words(said: str, told: str) -> None:
    (chunk,) = stream({"choices": [{"delta": {}, "finish_reason": said}]})
    assert chunk["choices"][0]["finish_reason"] == told


@pytest.mark.parametrize("reason", ["abort", "error"])
def test_an_answer_that_its_server_broke_off_is_none(reason: str) -> None:
    with pytest.raises(ValueError, match="broke the answer off"):
        stream({"choices": [{"delta": {}, "finish_reason": reason}]})


@pytest.mark.parametrize("kind", ["chat", "completions"])
def test_a_whole_answer_without_a_choice_is_none(kind: str) -> None:
    with pytest.raises(ValueError, match="without a choice"):
        complete({"choices": []}, kind=kind)


def test_who_speaks_in_a_stream_is_the_assistant() -> None:
    first, second = stream(delta(role="bot", content=""), delta(role=None, content="hi"))
    assert not faults(first, "CreateChatCompletionStreamResponse")
    assert first["choices"][0]["delta"]["role"] == "assistant"
    assert second["choices"][0]["delta"] == {"content": "hi"}


def test_the_chunks_of_a_stream_carry_one_id_one_time_and_one_model() -> None:
    first, second = stream({"id": "a", "created": 5, "model": "m", **delta(content="x")}, delta())
    assert not faults(first, "CreateChatCompletionStreamResponse")
    for name, value in {"id": "a", "created": 5, "model": "m"}.items():
        assert first[name] == second[name] == value


def calls_of(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    """The parts of calls that the client of a stream of these is told, each in its chunk."""
    chunks = stream(*(delta(tool_calls=[part]) for part in parts))
    assert not any(faults(chunk, "CreateChatCompletionStreamResponse") for chunk in chunks)
    return [chunk["choices"][0]["delta"]["tool_calls"][0] for chunk in chunks]


def begins(name: str, **more: object) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "arguments": ""}, **more}


def goes_on(**more: object) -> dict[str, Any]:
    return {"function": {"arguments": "{}"}, **more}


def test_parts_of_tool_calls_are_numbered_where_their_server_does_not() -> None:
    calls = calls_of(
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": None}},
        goes_on(),
        begins("g", id="b"),
        goes_on(id="a"),
    )
    assert [call["index"] for call in calls] == [0, 0, 1, 0]
    assert calls[0]["function"] == {"name": "f", "arguments": ""}


def test_calls_of_one_number_are_told_apart_by_their_ids() -> None:
    calls = calls_of(
        begins("f", index=0, id="a"),
        goes_on(index=0, id="a"),
        begins("f", index=0, id="b"),
        goes_on(index=0),
        begins("f", index=1, id="b"),
    )
    assert [call["index"] for call in calls] == [0, 0, 1, 1, 2]
    assert [call.get("id") for call in calls] == ["a", None, "b", None, "b"]


@pytest.mark.parametrize("numbers", [(0, 1), (0, 0), (None, None)])
@pytest.mark.parametrize("empty", ["", None])
def test_a_streamed_call_without_an_id_is_given_one(
    numbers: tuple[int | None, ...], empty: str | None
) -> None:
    parts = [
        part
        for number in numbers
        for part in (begins("f", index=number, id=empty), goes_on(index=number, id=empty))
    ]
    calls = calls_of(*parts)
    assert [call["index"] for call in calls] == [0, 0, 1, 1]
    ids = {call["id"] for call in calls if "id" in call}
    assert len(ids) == 2
    assert all(made.startswith("call_") for made in ids)


def test_a_call_goes_on_under_whatever_id_and_with_its_name_again() -> None:
    calls = calls_of(
        begins("f", index=0, id="a"),
        goes_on(index=0, id="another"),
        begins("f", index=0, id="a"),
    )
    assert [(call["index"], call.get("id")) for call in calls] == [(0, "a"), (0, None), (0, None)]


def test_whole_tool_calls_have_an_id_and_a_type() -> None:
    call = {"function": {"name": "f", "arguments": "{}"}, "id": "", "index": 0}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    answer = complete({"choices": [{"message": message, "finish_reason": "tool_calls"}]})
    assert not faults(answer, "CreateChatCompletionResponse")
    (found,) = answer["choices"][0]["message"]["tool_calls"]
    assert found["id"].startswith("call_")
    assert "index" not in found


@pytest.mark.parametrize(
    ("given", "told"),
    [({}, ""), ({"arguments": None}, ""), ({"arguments": {"a": None}}, '{"a":null}')],
)
def test_arguments_are_a_string_whatever_their_server_sends(
    given: dict[str, Any], told: str
) -> None:
    def call() -> dict[str, Any]:
        return {"id": "a", "type": "function", "function": {"name": "f", **given}}

    message = {"role": "assistant", "content": None, "tool_calls": [call()]}
    answer = complete({"choices": [{"message": message, "finish_reason": "tool_calls"}]})
    (chunk,) = stream(delta(tool_calls=[call()]))
    assert not faults(answer, "CreateChatCompletionResponse")
    assert not faults(chunk, "CreateChatCompletionStreamResponse")
    for said in (answer["choices"][0]["message"], chunk["choices"][0]["delta"]):
        assert said["tool_calls"][0]["function"] == {"name": "f", "arguments": told}


def test_logprobs_have_both_lists() -> None:
    token = {"token": "a", "logprob": -0.5, "bytes": None, "top_logprobs": []}
    choice = {"index": 0, "delta": {"content": "a"}, "logprobs": {"content": [token]}}
    (chunk,) = stream({"choices": [choice]})
    assert not faults(chunk, "CreateChatCompletionStreamResponse")
    assert chunk["choices"][0]["logprobs"] == {"content": [token], "refusal": None}


def test_usage_is_away_null_or_kept() -> None:
    chunk = delta(content="a") | {"usage": {"prompt_tokens": 1, "completion_tokens": 2}}
    assert "usage" not in stream(chunk, usage="none")[0]
    assert stream(chunk, usage="null")[0]["usage"] is None
    assert stream(chunk, usage="keep")[0]["usage"]["total_tokens"] == 3
    assert "usage" not in stream(delta(content="a"), usage="keep")[0]


def test_the_usage_chunk_belongs_to_its_stream() -> None:
    mending = Normaliser("chat", "engine/tiny")
    mending.chunk(b'{"id":"a","choices":[]}', usage="null")
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    chunk = msgspec.json.decode(mending.usage_chunk(usage))
    assert not faults(chunk, "CreateChatCompletionStreamResponse")
    assert (chunk["id"], chunk["choices"], chunk["usage"]) == ("a", [], usage)


def test_a_text_completion() -> None:
    choice = {"text": "hi", "finish_reason": "length", "prompt_logprobs": None}
    answer = complete({"choices": [choice]}, kind="completions")
    assert not faults(answer, "CreateCompletionResponse")
    assert answer["id"].startswith("cmpl-")


def test_embeddings() -> None:
    data = [{"embedding": [0.5, 1]}, {"embedding": "AAAA", "index": 1, "object": "x"}]
    answer = complete({"data": data[:1], "usage": None}, kind="embeddings")
    assert not faults(answer, "CreateEmbeddingResponse")
    assert complete({"data": data}, kind="embeddings")["data"][1]["object"] == "embedding"
    with pytest.raises(ValueError, match="embedding is missing"):
        complete({"data": [{"index": 0}]}, kind="embeddings")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["content", "index", "id", "x"]), inner, max_size=3)
    ),
    max_leaves=4,
)
_CALL = st.fixed_dictionaries({}, optional={"index": _JSON, "id": _JSON, "type": _JSON})
_DELTA = st.fixed_dictionaries(
    {}, optional={"reasoning": _JSON, "tool_calls": st.lists(_CALL) | _JSON}
)
_CHOICE = st.fixed_dictionaries(
    {},
    optional={
        "delta": _DELTA | _JSON,
        "message": _DELTA | _JSON,
        "text": _JSON,
        "index": _JSON,
        "finish_reason": _JSON,
        "logprobs": _JSON,
    },
)
_ANSWER = st.fixed_dictionaries(
    {},
    optional={
        "id": _JSON,
        "created": _JSON,
        "model": _JSON,
        "service_tier": _JSON,
        "usage": _JSON,
        "choices": st.lists(_CHOICE, max_size=2) | _JSON,
        "data": _JSON,
    },
)


@given(st.sampled_from(["chat", "completions", "embeddings"]), _ANSWER | _JSON)
def test_nonsense_is_a_value_error_or_an_answer(kind: Any, answer: object) -> None:
    body = msgspec.json.encode(answer)
    for mend in (
        lambda: Normaliser(kind, "m").completion(body),
        lambda: Normaliser(kind, "m").chunk(body, usage="keep"),
    ):
        try:
            mended = msgspec.json.decode(mend())
        except ValueError:
            continue
        assert isinstance(mended["model"], str)


def test_nesting_without_end_is_a_value_error() -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - any will do
        Normaliser("chat", "m").completion(b'{"a":' + b"[" * 100_000)


def test_a_chunk_costs_little() -> None:
    payload = msgspec.json.encode(VLLM | delta(content=" word", reasoning=None))
    mending = Normaliser("chat", "m")

    def cost() -> float:
        begin = time.perf_counter()
        for _ in range(2_000):
            mending.chunk(payload, usage="none")
        return (time.perf_counter() - begin) / 2_000

    assert min(cost() for _ in range(5)) < 40e-6
