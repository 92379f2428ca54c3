"""What any server says in OpenAI's words, made to fit OpenAI's schema.

Nulls where the schema knows none go, what it requires is filled in, `reasoning` becomes
`reasoning_content`; fields it does not know are passed on. `model` stays what the server says it
is: who answered, not who was asked for.
"""

import time
import uuid
from typing import Any, Literal

import msgspec

from gateway.openai.tool_calls import StreamedCalls, whole_call

Kind = Literal["chat", "completions", "embeddings", "moderations"]
"""Of which route the answer is; embeddings and moderations come whole."""

UsageMode = Literal["none", "null", "keep"]
"""What becomes of a chunk's `usage`."""

_ID_PREFIX = {"chat": "chatcmpl", "completions": "cmpl", "embeddings": "embd"}
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
_COUNTS = ("prompt_tokens", "completion_tokens")
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

_Json = dict[str, Any]
_decoder = msgspec.json.Decoder(_Json)
_encode = msgspec.json.Encoder().encode


class Normaliser:
    """Mends one answer: a completion, or all the chunks of a stream.

    Its chunks carry one id, one time and one model: the first chunk's. `model` stands where the
    server names none.

    The methods raise `msgspec.DecodeError` (a `ValueError`) for what is no OpenAI answer, and for
    one whose `finish_reason` says that its server broke it off.
    """

    __slots__ = ("_head", "_kind", "_model", "_tool_calls")

    def __init__(self, kind: Kind, model: str) -> None:
        self._kind = kind
        self._model = model
        self._head: _Json = {}
        self._tool_calls: dict[int, StreamedCalls] = {}

    def completion(self, body: bytes) -> bytes:
        """Return a whole answer."""
        answer = _decode(body)
        if self._kind == "embeddings":
            return _encode(self._vectors(answer))
        if self._kind == "moderations":
            return _encode(answer | {"results": _list_of_objects(answer.get("results"))})
        choices = _list_of_objects(answer.get("choices"))
        if not choices:
            raise msgspec.DecodeError("an answer without a choice")
        finish = self._finish_chat if self._kind == "chat" else self._finish_text
        answer["choices"] = [finish(i, choice) for i, choice in enumerate(choices)]
        usage = answer.get("usage")
        answer["usage"] = clean_usage(usage) if isinstance(usage, dict) else None
        name = "chat.completion" if self._kind == "chat" else "text_completion"
        return _encode(self._headed(answer, name))

    def _vectors(self, answer: _Json) -> _Json:
        data = _list_of_objects(answer.get("data"))
        for position, item in enumerate(data):
            if not isinstance(item.get("embedding"), list | str):
                raise msgspec.DecodeError("an embedding is missing")
            item |= {"object": "embedding", "index": _number(item.get("index"), position)}
        told = answer.get("usage")
        usage = clean_usage(told if isinstance(told, dict) else {})
        return {
            "object": "list",
            "model": _text(answer.get("model")) or self._model,
            "data": data,
            "usage": {name: usage[name] for name in ("prompt_tokens", "total_tokens")},
        }

    def chunk(self, payload: bytes, *, usage: UsageMode) -> bytes:
        """Return one chunk."""
        chunk = _decode(payload)
        choices = _list_of_objects(chunk.get("choices", []))
        mend = self._mend_chat if self._kind == "chat" else self._mend_text
        chunk["choices"] = [mend(choice) for choice in choices]
        told = chunk.pop("usage", None)
        mended = self._headed(chunk, self._chunk_name)
        if usage == "null":
            mended["usage"] = None
        elif usage == "keep" and isinstance(told, dict):
            mended["usage"] = clean_usage(told)
        return _encode(mended)

    def usage_chunk(self, usage: object) -> bytes:
        """Return the chunk without choices that tells the usage at a stream's end."""
        return _encode(self._headed({"choices": []}, self._chunk_name) | {"usage": usage})

    @property
    def _chunk_name(self) -> str:
        return "chat.completion.chunk" if self._kind == "chat" else "text_completion"

    def _headed(self, answer: _Json, name: str) -> _Json:
        """Return the answer without its nulls, its first fields known to be there."""
        if not self._head:
            created = answer.get("created")
            self._head = {
                "id": _text(answer.get("id")) or f"{_ID_PREFIX[self._kind]}-{uuid.uuid4().hex}",
                "object": name,
                "created": int(created if isinstance(created, int | float) else time.time()),
                "model": _text(answer.get("model")) or self._model,
            }
        answer.update(self._head)
        if _text(answer.get("service_tier")) not in _TIERS:
            answer.pop("service_tier", None)
        return {key: _without_nulls(value) for key, value in answer.items() if value is not None}

    def _finish_chat(self, position: int, choice: _Json) -> _Json:
        message = choice.get("message")
        if not isinstance(message, dict):
            raise msgspec.DecodeError("a choice without a message")
        _rename_reasoning(message)
        message["role"] = "assistant"
        message.setdefault("content", None)
        message.setdefault("refusal", None)
        calls = message.pop("tool_calls", None)
        if calls:
            message["tool_calls"] = [whole_call(call) for call in _list_of_objects(calls)]
        return self._finish(position, choice)

    def _finish_text(self, position: int, choice: _Json) -> _Json:
        if not isinstance(choice.get("text"), str):
            raise msgspec.DecodeError("a choice without a text")
        return self._finish(position, choice)

    def _finish(self, position: int, choice: _Json) -> _Json:
        choice["index"] = _number(choice.get("index"), position)
        choice["finish_reason"] = _finish_reason(choice.get("finish_reason")) or "stop"
        choice["logprobs"] = self._logprobs(choice.get("logprobs"))
        return choice

    def _mend_chat(self, choice: _Json) -> _Json:
        choice["index"] = _number(choice.get("index"), 0)
        choice["finish_reason"] = _finish_reason(choice.get("finish_reason"))
        if "logprobs" in choice:
            choice["logprobs"] = self._logprobs(choice["logprobs"])
        delta = choice.get("delta") or {}
        if not isinstance(delta, dict):
            raise msgspec.DecodeError("a delta that is no object")
        _rename_reasoning(delta)
        if delta.get("role") is not None:
            delta["role"] = "assistant"
        calls = delta.pop("tool_calls", None)
        if calls:
            begun = self._tool_calls.setdefault(choice["index"], StreamedCalls())
            delta["tool_calls"] = [begun.part(call) for call in _list_of_objects(calls)]
        choice["delta"] = delta
        return choice

    def _mend_text(self, choice: _Json) -> _Json:
        choice["index"] = _number(choice.get("index"), 0)
        choice["text"] = choice.get("text") or ""
        choice["finish_reason"] = _finish_reason(choice.get("finish_reason"))
        choice["logprobs"] = self._logprobs(choice.get("logprobs"))
        return choice

    def _logprobs(self, logprobs: object) -> object:
        if self._kind == "chat" and isinstance(logprobs, dict):
            return {"content": None, "refusal": None} | logprobs
        return logprobs


def _decode(body: bytes) -> _Json:
    try:
        return _decoder.decode(body)
    except RecursionError:
        raise msgspec.DecodeError("nested without end") from None


def clean_usage(usage: _Json) -> _Json:
    """Return token counts with the fields of OpenAI's schema alone."""
    asked, said = (_number(usage.get(name), 0) for name in _COUNTS)
    total = _number(usage.get("total_tokens"), 0) or asked + said
    cleaned: _Json = {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": total}
    for name, known in _DETAILS.items():
        details = usage.get(name)
        if isinstance(details, dict):
            counts = {k: n for k, n in details.items() if k in known and isinstance(n, int)}
            if counts:
                cleaned[name] = counts
    return cleaned


def _finish_reason(reason: object) -> str | None:
    """Return the reason in OpenAI's words; an end that it has no word for is a `stop`."""
    if reason is None:
        return None
    word = str(reason).lower()
    if word in _FINISHED:
        return word
    if word in _BROKEN_OFF:
        raise msgspec.DecodeError("the server broke the answer off")
    return _OTHER_WORDS.get(word, "stop")


def _rename_reasoning(message: _Json) -> None:
    reasoning = message.pop("reasoning", None)
    if reasoning is not None:
        message.setdefault("reasoning_content", reasoning)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object, otherwise: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else otherwise


def _list_of_objects(value: object) -> list[_Json]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise msgspec.DecodeError("a list of objects is missing")
    return value


def _without_nulls(value: object) -> object:
    if isinstance(value, dict):
        return {
            key: _without_nulls(item)
            for key, item in value.items()
            if item is not None or key in _NULLABLE
        }
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value
