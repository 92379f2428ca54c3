"""A guardrail against prompt injection, by its usual words in English and Korean.

It knows what attacks commonly say, not what they mean: a rewording gets past it.
"""

import base64
import math
import re
from collections.abc import Iterator, Sequence

from config.guardrails import InjectionSettings
from gateway.govern.guardrails.injection_rules import LIKELY, LOOSE, WEIGHTS
from gateway.govern.guardrails.parts import Part
from gateway.govern.guardrails.text import SHARED, WINDOW, latin, together, windows
from gateway.govern.guardrails.verdict import Action, Verdict
from gateway.govern.masking.threads import Turns

_TRUSTED = frozenset({"system", "developer", "assistant", ""})
"""Who may speak of instructions: who writes them, and the model itself."""

_ENCODED = re.compile(r"[A-Za-z0-9+/_-]{24,}")
_STANDARD = str.maketrans("-_", "+/")
_HEX = re.compile(r"(?:[0-9a-fA-F]{2})+")
_TAGS = re.compile("[\U000e0020-\U000e007e]{8}")
_HIDDEN = 0.9
"""Weight of text in tag characters, which nobody sees but a model reads; flags have fewer."""


class Injection:
    """Looks in what users and tools say; what is encoded there is looked into once."""

    name = "injection"

    def __init__(self, settings: InjectionSettings) -> None:
        self._threshold = settings.threshold
        self._action = Action[settings.action.upper()]

    def check(self, parts: Sequence[Part]) -> Verdict:
        """Return what it finds, and the part that has most of it."""
        between = Turns()
        scores = [
            (_score(part.text, between), part.path) for part in parts if part.role not in _TRUSTED
        ]
        score, path = max(scores, key=lambda each: each[0], default=(0.0, ""))
        if score >= self._threshold:
            return Verdict(score, self._action, path)
        return Verdict(score, min(self._action, Action.FLAG), path) if score else Verdict()


def _score(text: str, between: Turns) -> float:
    """Return 1 minus the chance that all that was found means nothing."""
    found = {rule for window in windows(text, between) for rule in _found(window)}
    for inner in _decoded(text, between):
        found |= {rule for window in windows(inner, between) for rule in _found(window)}
    doubts = [1 - WEIGHTS[rule][1] for rule in found]
    doubts += [1 - _HIDDEN] * _hides(text)
    return round(1 - math.prod(doubts), 4)


def _hides(text: str) -> bool:
    starts = () if text.isascii() else range(0, len(text), WINDOW)
    return any(_TAGS.search(text, at, at + WINDOW + 8) for at in starts)


def _found(window: str) -> Iterator[int]:
    written = latin(window)
    if LIKELY.search(written):
        yield from (i for i, (rule, _) in enumerate(WEIGHTS) if rule.search(written))
    joined, words = together(written)
    if words:
        yield from (i for i, rule in enumerate(LOOSE) if _meets(rule, joined, words))


def _meets(rule: re.Pattern[str], joined: str, words: Sequence[range]) -> bool:
    """Tell whether the rule is met where letters stood apart: it is too loose for all else."""
    return any(
        found.start() < word.stop and word.start < found.end()
        for found in rule.finditer(joined)
        for word in words
    )


def _decoded(text: str, between: Turns) -> Iterator[str]:
    """Yield what base64 and hexadecimal words say, in pieces that overlap."""
    at = 0
    while at < len(text):
        found = _ENCODED.search(text, at, at + WINDOW)
        if not found:
            between(WINDOW)
            # A word may begin here that is not long enough yet.
            at += WINDOW - 24
            continue
        if found.end() == at + WINDOW and found.start() > at:
            at = found.start()
            continue
        yield from _readings(found[0])
        between(found.end() - at)
        goes_on = found.end() == at + WINDOW and found.end() < len(text)
        at = at + WINDOW - SHARED if goes_on else found.end()


def _readings(word: str) -> Iterator[str]:
    whole = word[:-1] if len(word) % 4 == 1 else word
    padded = whole.translate(_STANDARD) + "=" * (-len(whole) % 4)
    yield base64.b64decode(padded).decode("utf-8", "ignore")
    even = word[: len(word) & ~1]
    if _HEX.fullmatch(even):
        yield bytes.fromhex(even).decode("utf-8", "ignore")
