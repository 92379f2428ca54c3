"""A guardrail against words and phrases."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from config.guardrails import DenySettings
from gateway.govern.guardrails.parts import Part
from gateway.govern.guardrails.text import windows
from gateway.govern.guardrails.verdict import Action, Verdict
from gateway.govern.masking.threads import Turns

_PARTICLES = (
    "은 는 이 가 을 를 의 에 에서 에게 에게서 께 께서 한테 와 과 랑 이랑 하고 로 으로 도 만 까지 "
    "부터 보다 처럼 마다 조차 마저 밖에 이나 나 이라도 라도 들 이란 란 이라는 라는 이라고 라고 "
    "이다 입니다 입니까 이에요 예요 인 인가요 이야 야 요"
)
_PARTICLE = "|".join(sorted(_PARTICLES.split(), key=len, reverse=True))
_MOST_PARTICLES = 3
_LONGEST_GAP = 4
_BEHIND = _MOST_PARTICLES * max(map(len, _PARTICLES.split())) + 1
"""How many characters behind a phrase tell whether it ends there."""
_GAP = rf"[\s\-_.]{{1,{_LONGEST_GAP}}}"


@dataclass(slots=True)
class _Node:
    """What may follow; `ends` where a phrase does."""

    following: dict[str, "_Node"] = field(default_factory=dict)
    ends: str = ""


class Deny:
    """Looks for phrases as whole words: Korean ones may have particles.

    Attributes:
        pattern: Finds them in a text.
        longest: How many characters decide whether one begins.
        answers: Whether answers must not have them either.
    """

    name = "deny"

    def __init__(self, settings: DenySettings) -> None:
        phrases = [_normal(phrase) for phrase in settings.phrases]
        self._action = Action[settings.action.upper()]
        self.answers = settings.answers
        self.pattern = _pattern(phrases)
        self.longest = _LONGEST_GAP * max(map(len, phrases)) + _BEHIND

    def check(self, parts: Sequence[Part]) -> Verdict:
        """Return what it finds, and the first part that has it."""
        between = Turns()
        for part in parts:
            if any(self.pattern.search(window) for window in windows(part.text, between)):
                return Verdict(1.0, self._action, part.path)
        return Verdict()


def _normal(phrase: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", phrase).lower().split())


def _pattern(phrases: Iterable[str]) -> re.Pattern[str]:
    """Return one pattern for all: looked up letter by letter, however many they are."""
    root = _Node()
    for phrase in phrases:
        node = root
        for character in phrase:
            node = node.following.setdefault(character, _Node())
        node.ends = _end(phrase)
    return re.compile(f"(?<![0-9a-z가-힣])(?:{_regex(root)})", re.IGNORECASE)


def _end(phrase: str) -> str:
    if "가" <= phrase[-1] <= "힣":
        return f"(?:{_PARTICLE}){{0,{_MOST_PARTICLES}}}(?![가-힣])"
    return "(?![0-9a-z])" if phrase[-1].isalnum() else "(?:)"


def _regex(node: _Node) -> str:
    ways = [
        (_GAP if character == " " else re.escape(character)) + _regex(following)
        for character, following in node.following.items()
    ]
    ways += [node.ends] * bool(node.ends)
    return ways[0] if len(ways) == 1 else f"(?:{'|'.join(ways)})"
