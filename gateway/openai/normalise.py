"""What any server says in OpenAI's words, made to fit OpenAI's schema.

Nulls where the schema knows none go, what it requires is filled in, `reasoning` becomes
`reasoning_content`; fields it does not know are passed on.
"""

import time
import uuid
from typing import Any, Literal

import msgspec

Kind = Literal["chat", "completions"]

_OBJECTS = {
    ("chat", False): "chat.completion",
    ("chat", True): "chat.completion.chunk",
    ("completions", False): "text_completion",
    ("completions", True): "text_completion",
}
_ID_PREFIX = {"chat": "chatcmpl", "completions": "cmpl"}
_NULLABLE = frozenset({"content", "refusal", "logprobs", "finish_reason", "bytes"})
_FINISHED = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})
_BROKEN_OFF = frozenset({"abort", "error"})
_OTHER_WORDS = {
    "max_tokens": "length",
    "model_length": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
    "safety": "content_filter",
    "recitation": "content_filter",
}
_TIERS = frozenset({"auto", "default", "flex", "scale", "priority", "fast"})
_DETAILS = {
    "prompt_tokens_details": frozenset(
        {"audio_tokens", "cached_tokens", "text_tokens", "image_tokens", "cache_write_tokens"}
    ),
    "completion_tokens_details": frozenset(
        {
            *("accepted_prediction_tokens", "rejected_prediction_tokens"),
            *("audio_tokens", "reasoning_tokens", "text_tokens"),
        }
    ),
}

_decode = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode


class Normaliser:
    """Mends one answer: a completion, or all the chunks of a stream.

    Its chunks carry one id, one time and one model: the first chunk's. `model` stands where the
    server names none.

    Both methods raise `msgspec.DecodeError` (a `ValueError`) for what is no OpenAI answer, and for
    one that its server broke off.
    """

    def __init__(self, kind: Kind, model: str) -> None:
        self._kind = kind
        self._model = model
        self._head: dict[str, Any] = {}
        self._tool_calls: dict[int, int] = {}

    def completion(self, body: bytes) -> bytes:
        """Return a whole answer."""
        return self._mended(body, chunk=False)

    def chunk(self, payload: bytes, *, usage: Literal["none", "null", "keep"]) -> bytes:
        """Return one chunk, its usage away, null, or as it is."""
        return self._mended(payload, chunk=True, usage=usage)

    def usage_chunk(self, usage: Any) -> bytes:
        """Return the chunk without choices that tells the usage at a stream's end."""
        raise NotImplementedError

    def _mended(self, body: bytes, *, chunk: bool, usage: str = "keep") -> bytes:
        raise NotImplementedError
