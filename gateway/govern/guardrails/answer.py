"""Answers that end before the first phrase that must not be said: whole, or chunk by chunk."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from gateway.govern.guardrails.deny import Deny
from gateway.govern.masking.answer import AnswerChange, TextInParts

_FILTERED = "content_filter"
_decode = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode


class CutText:
    """One text in parts. However it is cut into them, the same is let through.

    What is held back is as long as the longest phrase can be.
    """

    def __init__(self, denied: Sequence[Deny], on_cut: Callable[[], None]) -> None:
        self._patterns = [deny.pattern for deny in denied]
        self._longest = max(deny.longest for deny in denied)
        self._on_cut = on_cut
        self._before, self._held, self._cut = "", "", False

    def push(self, text: str) -> str:
        """Return what is decided with this part."""
        self._held += text
        return self._decided(last=False)

    def finish(self) -> str:
        """Return what was held back."""
        return self._decided(last=True)

    def _decided(self, *, last: bool) -> str:
        if self._cut:
            return ""
        start, raw = len(self._before), self._before + self._held
        stop = len(raw) if last else max(start, len(raw) - self._longest)
        hits = [found.start() for each in self._patterns if (found := each.search(raw, start))]
        if hits and min(hits) < stop:
            self._cut = True
            self._on_cut()
            return raw[start : min(hits)]
        self._before, self._held = raw[:stop][-1:], raw[stop:]
        return raw[start:stop]


class CutAnswer(AnswerChange):
    """Cuts one answer; a choice of which a text was cut ends with `content_filter`."""

    def __init__(self, denied: Sequence[Deny], on_cut: Callable[[], None]) -> None:
        super().__init__(self._new, logprobs=False)
        self._denied = denied
        self._on_cut = on_cut
        self._at = 0
        self._filtered = set[int]()

    def whole(self, body: bytes) -> bytes:
        """Return a whole completion: each choice is a chunk that has everything."""
        answer = _decode(body)
        for place, choice in enumerate(answer.get("choices", ())):
            choice.setdefault("index", place)
            message = choice.pop("message", None)
            choice["delta"] = message or {}
            calls = choice["delta"].get("tool_calls") or ()
            for index, call in enumerate(calls):
                call["index"] = index
            self._choice(choice)
            del choice["delta"]
            for call in calls:
                del call["index"]
            if message is not None:
                choice["message"] = message
        return _encode(answer)

    def _choice(self, choice: dict[str, Any]) -> None:
        self._at = choice.get("index", 0)
        super()._choice(choice)
        if choice.get("finish_reason") is not None and self._at in self._filtered:
            choice["finish_reason"] = _FILTERED

    def _new(self, in_json: bool, before: str) -> TextInParts:  # noqa: FBT001 - as `NewText` is
        del in_json, before
        index = self._at

        def cut() -> None:
            self._filtered.add(index)
            self._on_cut()

        return CutText(self._denied, cut)
