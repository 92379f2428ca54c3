"""An OpenAI answer with all its texts changed: whole, or chunk by chunk."""

from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from gateway.govern.masking.walk import changed

_Json = dict[str, Any]
_HEAD = ("id", "object", "created", "model")
_TEXTS = ("reasoning_content", "content", "refusal")
_decode = msgspec.json.Decoder(_Json).decode
_encode = msgspec.json.Encoder().encode


class TextInParts(Protocol):
    """One text in parts, changed."""

    def push(self, text: str) -> str:
        """Return what is decided with this part."""
        ...

    def finish(self) -> str:
        """Return what was held back."""
        ...


NewText = Callable[[bool, str], TextInParts]
"""Begin a text; told whether it is the text of a JSON document, and what stands before it."""

_Where = tuple[str, int]
"""A text of one answer: its field, and which tool call's."""


class AnswerChange:
    """Changes one answer. `logprobs` is whether tokens may be told beside the text."""

    def __init__(self, new_text: NewText, *, logprobs: bool) -> None:
        self._new_text = new_text
        self._logprobs = logprobs
        self._texts = dict[int, dict[_Where, TextInParts]]()
        self._head: _Json = {}

    def whole(self, body: bytes) -> bytes:
        """Return a whole completion."""
        answer = _decode(body)
        for choice in answer.get("choices", ()):
            self._take_logprobs(choice)
            if "message" in choice:
                choice["message"] = changed(choice["message"], self._at_once)
            if "text" in choice:
                choice["text"] = self._at_once(choice["text"], "")
        return _encode(answer)

    def chunk(self, payload: bytes) -> bytes:
        """Return a chunk with what is decided by now; an end brings the rest."""
        chunk = _decode(payload)
        self._head = {name: chunk[name] for name in _HEAD if name in chunk}
        for choice in chunk.get("choices", ()):
            self._choice(choice)
        return _encode(chunk)

    def rest(self) -> bytes | None:
        """Return a chunk with all that is still held back, where a stream ends without an end."""
        choices = list[_Json]()
        for index, texts in self._texts.items():
            choice: _Json = {"index": index, "delta": {}, "finish_reason": None}
            if ("text", 0) in texts:
                choice = {"index": index, "text": "", "finish_reason": None, "logprobs": None}
            if self._end(choice, texts):
                choices.append(choice)
        return _encode(self._head | {"choices": choices}) if choices else None

    def _choice(self, choice: _Json) -> None:
        self._take_logprobs(choice)
        texts = self._texts.setdefault(choice.get("index", 0), {})
        earlier, begins = dict(texts), False
        for where, holder, name in _said(choice):
            if where not in texts:
                begins = True
                texts[where] = self._new_text(where[0] == "arguments", "")
            holder[name] = texts[where].push(holder[name])
        if choice.get("finish_reason") is not None:
            self._end(choice, texts)
            texts.clear()
        elif begins:
            # Models say one thing after the other: the ones before are over.
            self._end(choice, earlier)

    def _end(self, choice: _Json, texts: dict[_Where, TextInParts]) -> bool:
        """Add to a choice what its texts held back; tell whether that was anything."""
        any_rest = False
        for where, text in texts.items():
            if rest := text.finish():
                any_rest = True
                _add(choice, where, rest)
        return any_rest

    def _at_once(self, text: str, before: str) -> str:
        whole = self._new_text(False, before)  # noqa: FBT003 - `walk` writes JSON itself
        return whole.push(text) + whole.finish()

    def _take_logprobs(self, choice: _Json) -> None:
        if not self._logprobs and choice.get("logprobs") is not None:
            choice["logprobs"] = None


def _said(choice: _Json) -> list[tuple[_Where, _Json, str]]:
    """Return the texts that a chunk adds to an answer: which, and where they stand."""
    said = list[tuple[_Where, _Json, str]]()
    if choice.get("text"):
        said.append((("text", 0), choice, "text"))
    delta = choice.get("delta") or {}
    said += [((name, 0), delta, name) for name in _TEXTS if delta.get(name)]
    calls = [(call.get("index", 0), call) for call in delta.get("tool_calls") or ()]
    calls += [(-1, {"function": delta["function_call"]})] if delta.get("function_call") else []
    for index, call in calls:
        for holder, name in ((call.get("function"), "arguments"), (call.get("custom"), "input")):
            if holder and holder.get(name):
                said.append(((name, index), holder, name))
    return said


def _add(choice: _Json, where: _Where, rest: str) -> None:
    """Put a text's rest into a choice, before what that says anew of the same."""
    name, index = where
    if name == "text":
        choice["text"] = choice.get("text", "") + rest
        return
    delta = choice.setdefault("delta", {})
    if name in _TEXTS:
        delta[name] = (delta.get(name) or "") + rest
        return
    part = {name: rest}
    if index < 0:
        call = delta.setdefault("function_call", {})
        call[name] = (call.get(name) or "") + rest
        return
    calls = delta.setdefault("tool_calls", [])
    kind = "function" if name == "arguments" else "custom"
    same = next((call for call in calls if call.get("index", 0) == index), None)
    if same is None:
        calls.insert(0, {"index": index, kind: part})
    else:
        same.setdefault(kind, {})[name] = (same.get(kind, {}).get(name) or "") + rest
