"""A stream's chunks are told alike whether each is decoded or told by the one before."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.generation.target import Prompt
from gateway.generation.template import Template
from gateway.generation.transcript import Transcript

HEAD = {"id": "c-1", "object": "chat.completion.chunk", "created": 7, "model": "m"}
TEXTS = st.text(max_size=8) | st.sampled_from(
    ['"', "\\", '","content":"x', "\n", "가나", "\0", '"}}]}', "a\u2028b", "😀"]
)
DELTAS = st.one_of(
    st.builds(lambda text: {"content": text}, TEXTS),
    st.builds(lambda text: {"role": "assistant", "content": text}, TEXTS),
    st.builds(lambda text: {"content": text, "reasoning": text}, TEXTS),
    st.builds(lambda text: {"content": None, "refusal": text}, TEXTS),
    st.just({"tool_calls": [{"id": "x", "function": {"name": '"content":"', "arguments": "{}"}}]}),
)
USAGES = st.sampled_from(
    [
        {},
        {"usage": None},
        *({"usage": {"prompt_tokens": 3, "completion_tokens": n}} for n in (1, 2, 30)),
        {"usage": {"prompt_tokens": 3, "completion_tokens": 4}, "obfuscation": "x"},
        {"usage": None, "error": None},
    ]
)
ENDS = st.sampled_from([None, None, None, "stop", "length"])
CHUNKS = st.lists(st.tuples(DELTAS, USAGES, ENDS, st.integers(0, 1)), max_size=12)


def _payload(delta: dict[str, Any], usage: dict[str, Any], end: str | None, index: int) -> bytes:
    choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": end}
    return msgspec.json.encode({**HEAD, "choices": [choice], **usage})


@given(CHUNKS, st.booleans())
def test_every_chunk_is_told_as_if_it_were_the_only_one(
    chunks: list[tuple[Any, ...]], include_usage: bool
) -> None:
    prompt = Prompt({"messages": []}, include_usage=include_usage)
    quick, slow = Transcript(prompt, "m"), Transcript(prompt, "m")
    slow._tries = 0
    for chunk in chunks:
        payload = _payload(*chunk)
        told = quick.take(payload)
        assert told == slow.take(payload)
        assert (quick.usage, quick.begun, quick.ended) == (slow.usage, slow.begun, slow.ended)
    assert slow._template is None


def _first() -> Transcript:
    transcript = Transcript(Prompt({"messages": []}), "m")
    transcript.take(_payload({"content": "one"}, {}, None, 0))
    assert transcript._template is not None
    return transcript


def test_text_alone_needs_no_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    transcript = _first()
    monkeypatch.setattr("gateway.generation.transcript.view_chunk", None)
    for text in ("two", "둘", " "):
        told = transcript.take(_payload({"content": text}, {}, None, 0))
        assert msgspec.json.decode(told or b"")["choices"][0]["delta"] == {"content": text}


@pytest.mark.parametrize("text", [b"\xff", b"\xed\xa0\x80", b"\xea\xb0"])
def test_what_is_no_utf8_is_refused_as_ever(text: bytes) -> None:
    payload = _payload({"content": "one"}, {}, None, 0).replace(b"one", text)
    with pytest.raises(ValueError, match="utf-8"):
        _first().take(payload)


@given(st.binary(max_size=20), st.binary(max_size=20))
def test_a_match_is_what_a_decoder_reads(start: bytes, end: bytes) -> None:
    template = _first()._template
    assert isinstance(template, Template)
    payload = template.before + start + template.after + end
    if found := template.match(payload):
        chunk = msgspec.json.decode(payload)
        assert chunk["choices"][0]["delta"]["content"].encode() == found[0]
