"""Answers that models judge before their caller has them: whole, or window by window."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import msgspec

from gateway.errors import GatewayError
from gateway.generation.judging import Judging, Occasion
from gateway.generation.target import Comment, Completion, Payloads
from gateway.govern.guardrails.guardrails import Found
from gateway.govern.guardrails.judge import NAME, Judge, stricter
from gateway.govern.guardrails.parts import LONGEST_PIECE, Part, cut
from gateway.govern.guardrails.verdict import Action, Verdict

ANSWERS = f"{NAME}_answers"
"""As usage records name the verdict on an answer."""

_FILTERED = "content_filter"
_TEXTS = ("reasoning_content", "content", "refusal")
_OVERLAP = 500
_decode = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode
_Choice = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Bench:
    """The judges of one request's answer; `question` is what the answer is to."""

    judging: Judging
    judges: Sequence[Judge]
    occasion: Occasion
    question: str

    @property
    def window(self) -> int | None:
        """Return how many characters a stream may hold back; None where it tells all at once."""
        asked = (judge.settings for judge in self.judges)
        return min((each.window_chars for each in asked if each.streams == "window"), default=None)

    async def blocks(self, text: str) -> bool:
        """Tell whether a text may not be told; note the verdict on the account.

        Raises:
            GatewayError: It could not be judged, and is blocked therefore.
        """
        verdict = Verdict()
        pieces = [Part("answer", "assistant", piece) for piece in cut(text)]
        for judge in self.judges:
            for each in await self.judging.judge(self.occasion, judge, pieces, self.question):
                verdict = stricter(verdict, each)
        self._note(verdict)
        if verdict.action is Action.BLOCK and not verdict.judged:
            Found({NAME: verdict}).check()
        return verdict.action is Action.BLOCK

    def _note(self, verdict: Verdict) -> None:
        said = self.occasion.charge.verdicts
        if verdict.action is not Action.ALLOW or ANSWERS not in said:
            said[ANSWERS] = str(verdict)


async def judged(bench: Bench, completion: Completion) -> bytes:
    """Return a whole answer's body; a choice that is blocked says nothing.

    Raises:
        GatewayError: It could not be judged, and is blocked therefore.
    """
    answer, any_blocked = _decode(completion.body), False
    for choice in answer.get("choices", ()):
        if await bench.blocks(_said(choice)):
            any_blocked = True
            _silence(choice)
            choice["finish_reason"] = _FILTERED
    return _encode(answer) if any_blocked else completion.body


@dataclass(slots=True)
class _Heard:
    """What one choice said: `new` was not judged yet, `before` is the end of what was."""

    before: str = ""
    new: list[str] = field(default_factory=list)
    blocked: bool = False


class JudgedPayloads:
    """A stream's payloads, which a choice that is blocked leaves with `content_filter`.

    Where the bench has a window, nothing is told before it was judged; without, what is said is
    told at once, and judged at its end.
    """

    def __init__(self, payloads: Payloads, bench: Bench) -> None:
        self._payloads = payloads
        self._bench = bench
        self._window = bench.window
        self._heard: dict[int, _Heard] = {}
        self._held: deque[bytes] = deque()
        self._due: deque[bytes] = deque()
        self._waiting = 0
        self._end: BaseException | None = None

    def __aiter__(self) -> Self:
        """Return itself."""
        return self

    async def __anext__(self) -> bytes:
        """Return the next payload; what was held back comes before an end or a failure.

        Raises:
            GatewayError: What is held back could not be judged, and is blocked therefore.
        """
        while not self._due:
            if self._end:
                raise self._end
            try:
                await self._next()
            except (StopAsyncIteration, GatewayError) as end:
                self._end = end
        return self._due.popleft()

    async def _next(self) -> None:
        try:
            payload = await anext(self._payloads)
        except (StopAsyncIteration, GatewayError):
            await self._decide()
            raise
        if isinstance(payload, Comment):
            self._due.append(payload)
        else:
            await self._take(payload)

    async def aclose(self) -> None:
        """End it, and the upstream's work with it."""
        self._held.clear()
        self._due.clear()
        await self._payloads.aclose()

    async def _take(self, payload: bytes) -> None:
        ends = False
        for choice in _decode(payload).get("choices", ()):
            heard = self._heard.setdefault(choice.get("index", 0), _Heard())
            ends |= choice.get("finish_reason") is not None
            if (said := _said(choice)) and not heard.blocked:
                heard.new.append(said)
                self._waiting += len(said)
        self._held.append(payload)
        if ends or self._waiting >= (self._window or LONGEST_PIECE):
            await self._decide()
        elif self._window is None or not self._waiting:
            self._release()

    async def _decide(self) -> None:
        """Judge what is new, and let out what was held back."""
        self._waiting = 0
        for heard in self._heard.values():
            new = "".join(heard.new)
            heard.new.clear()
            if new and not heard.blocked:
                text = heard.before + new
                heard.blocked = await self._bench.blocks(text)
                heard.before = text[-_OVERLAP:]
        self._release()

    def _release(self) -> None:
        blocked = {index for index, heard in self._heard.items() if heard.blocked}
        while self._held:
            payload = self._held.popleft()
            self._due.append(_filtered(payload, blocked) if blocked else payload)


def _filtered(payload: bytes, blocked: set[int]) -> bytes:
    """Return a chunk in which the blocked choices say nothing."""
    chunk = _decode(payload)
    for choice in chunk.get("choices", ()):
        if choice.get("index", 0) in blocked:
            _silence(choice)
            if choice.get("finish_reason") is not None:
                choice["finish_reason"] = _FILTERED
    return _encode(chunk)


def _said(choice: _Choice) -> str:
    """Return all that a choice, or a chunk of one, says."""
    holder = choice.get("message") or choice.get("delta") or {}
    said = [choice.get("text"), *(holder.get(name) for name in _TEXTS)]
    functions = [call.get("function") or {} for call in holder.get("tool_calls") or ()]
    functions += [call.get("custom") or {} for call in holder.get("tool_calls") or ()]
    functions += [holder.get("function_call") or {}]
    said += [each.get(name) for each in functions for name in ("arguments", "input")]
    return "".join(text for text in said if text)


def _silence(choice: _Choice) -> None:
    if "text" in choice:
        choice["text"] = ""
    if "delta" in choice:
        choice["delta"] = {}
    if "message" in choice:
        choice["message"] = {"role": "assistant", "content": "", "refusal": None}
    if choice.get("logprobs") is not None:
        choice["logprobs"] = None
