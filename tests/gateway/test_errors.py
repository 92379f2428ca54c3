"""What an error tells of a body that does not fit: where the fault is, and its code."""

import msgspec
import pytest

from gateway.errors import describe
from gateway.openai.chat_request import ChatRequest
from gateway.openai.embeddings import EmbeddingRequest
from gateway.openai.knowledge import CreateVectorStore

_LACKS = "missing_required_parameter"
_OVERLAP = {"max_chunk_size_tokens": 200, "chunk_overlap_tokens": 190}


@pytest.mark.parametrize(
    ("kind", "body", "param", "code"),
    [
        (ChatRequest, {"model": "m"}, "messages", _LACKS),
        (
            ChatRequest,
            {"model": "m", "messages": [{"role": "user"}]},
            "messages[0].content",
            _LACKS,
        ),
        (ChatRequest, {"model": "m", "messages": []}, "messages", None),
        (ChatRequest, {"model": "m", "messages": [{"role": "assistant"}]}, "messages[0]", None),
        (ChatRequest, [], None, None),
        (EmbeddingRequest, {"model": "m", "input": ""}, "input", None),
        (EmbeddingRequest, {"model": "m", "input": ["a", 1]}, "input", None),
        (EmbeddingRequest, {"model": "m", "input": ["a"] * 2049}, "input", None),
        (CreateVectorStore, {"nmae": "x"}, "nmae", None),
        (CreateVectorStore, {"": "x"}, "", None),
        (
            CreateVectorStore,
            {"chunking_strategy": {"type": "static", "static": _OVERLAP}},
            "chunking_strategy.static.chunk_overlap_tokens",
            None,
        ),
    ],
)
def test_the_field_at_fault_is_named(
    kind: type, body: object, param: str | None, code: str | None
) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.json.decode(msgspec.json.encode(body), type=kind)
    answer = describe(caught.value)
    assert answer.status == 400
    assert (answer.error.param, answer.error.code) == (param, code)


def test_a_path_stands_before_what_is_said() -> None:
    fault = msgspec.ValidationError("Object missing required field `content` - at `$.messages[0]`")
    told = describe(fault).error.message
    assert told == "messages[0]: Object missing required field `content`"
