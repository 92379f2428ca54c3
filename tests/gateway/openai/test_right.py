"""What is passed on as it came is what mending would have made of it."""

from typing import Any

import msgspec
import pytest
from openai_schema import faults

from gateway.openai.normalise import Normaliser
from gateway.openai.right import read_right
from gateway.openai.usage import TokenUsage

RIGHT: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1_700_000_000,
    "model": "gpt-x",
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "안녕",
                "refusal": None,
                "annotations": [],
            },
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {
        "prompt_tokens": 5,
        "completion_tokens": 7,
        "total_tokens": 12,
        "prompt_tokens_details": {"cached_tokens": 3, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 2},
    },
    "service_tier": "default",
    "system_fingerprint": "fp_1",
}


def _without(path: str) -> dict[str, Any]:
    return _with(path, msgspec.UNSET)


def _with(path: str, value: object) -> dict[str, Any]:
    """Return the right answer with another value at a path."""
    changed: Any = msgspec.json.decode(msgspec.json.encode(RIGHT))
    *way, last = path.split(".")
    at = changed
    for step in way:
        at = at[int(step)] if step.isdigit() else at[step]
    if value is msgspec.UNSET:
        del at[last]
    else:
        at[last] = value
    return dict(changed)


@pytest.mark.parametrize(
    "answer",
    [
        RIGHT,
        *map(_without, ("service_tier", "system_fingerprint", "usage.prompt_tokens_details")),
        _without("choices.0.message.annotations"),
        _with("choices.0.message.content", None),
        _with("choices", RIGHT["choices"] * 2),
    ],
)
def test_what_is_right_stays_as_it_is(answer: dict[str, Any]) -> None:
    body = msgspec.json.encode(answer)
    right = read_right(body)
    assert right
    assert not faults(answer, "CreateChatCompletionResponse")
    mended = msgspec.json.decode(Normaliser("chat", "m").completion(body))
    assert mended == answer
    cached = answer["usage"].get("prompt_tokens_details", {}).get("cached_tokens", 0)
    assert right.usage.counted() == TokenUsage(5, 7, cached, complete=True)


@pytest.mark.parametrize(
    "answer",
    [
        *map(_without, ("id", "object", "created", "model", "choices", "usage")),
        *map(_without, ("choices.0.logprobs", "choices.0.message.refusal", "choices.0.index")),
        *(_with(name, None) for name in ("service_tier", "system_fingerprint", "id", "usage")),
        _with("service_tier", "premium"),
        _with("created", 1.5),
        _with("model", ""),
        _with("choices", []),
        _with("more", 1),
        _with("choices.0.finish_reason", "abort"),
        _with("choices.0.finish_reason", "tool_calls"),
        _with("choices.0.message.tool_calls", []),
        _with("choices.0.message.reasoning", "hm"),
        _with("choices.0.message.role", None),
        _with("choices.0.message.annotations", None),
        _with("choices.0.logprobs", {"content": []}),
        _with("usage.total_tokens", 0),
        _with("usage.prompt_tokens", None),
        _with("usage.prompt_tokens", 10**9),
        _with("usage.completion_tokens", 10**18),
        _with("usage.prompt_tokens_details.cached_tokens", 10**9),
        _with("usage.prompt_tokens_details", None),
        _with("usage.prompt_tokens_details.other", 1),
    ],
)
def test_what_is_out_of_the_ordinary_is_looked_at(answer: dict[str, Any]) -> None:
    assert read_right(msgspec.json.encode(answer)) is None


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b"[" * 100_000, msgspec.json.encode(RIGHT).replace(b"gpt", b"\xff")]
)
def test_what_is_no_answer(body: bytes) -> None:
    assert read_right(body) is None
