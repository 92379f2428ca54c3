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
    "은 는 이 가 을 를 의 에 에서 에게 에게서 에다 에다가 께 께서 한테 한테서 와 과 랑 이랑 하고 "
    "로 으로 로서 으로서 로써 으로써 도 만 까지 부터 보다 처럼 만큼 대로 같이 마냥 마다 조차 마저 "
    "밖에 뿐 커녕 치고 말고 따라 씩 쯤 이나 나 이나마 나마 이야말로 야말로 인들 이라도 라도 들 "
    "이란 란 이라는 라는 이라고 라고 인 이야 야 요"
)
_PAST = "다 고 으며 으나 지만 는데 던 으므로 습니다 습니까 어요 음 음을 기 다고 다는 다면"
# Of 이다, whatever it follows. Not 일, 이자, 일지: 마감일, 대출이자 and 업무일지 are other words.
_COPULA = (
    "이다 이며 이고 이지만 이지 이죠 이니 이니까 이므로 이면 이면서 이든 이든지 이든가 이거나 "
    "이라 이라서 이라면 이라며 이라지만 이라니 이네 이군 이구나 이더라도 이기 이기에 이기도 "
    "입니다 입니까 입니다만 이에요 예요 인데 인데도 인데다 인지 인지는 인지도 인가 일까 일수록 "
    f"일지도 일지라도 임 임을 임은 임이 임에도 {' '.join(f'이었{each}' for each in _PAST.split())}"
)
# And where a vowel is before it, 이 may fall. Not 지, 기, 면, 자: 전화기 is another word.
_COPULA_BEHIND_A_VOWEL = (
    "다 며 고 지만 지요 죠 니까 므로 면서 든 든지 든가 거나 라서 라면 라며 라지만 라니 네요 군요 "
    f"구나 더라도 {' '.join(f'였{each}' for each in _PAST.split())}"
)
_FINALS = 28
"""Of so many Hangul syllables the first one ends with its vowel."""
_MOST_PARTICLES = 3
_LONGEST_GAP = 4
_BEHIND = (
    _MOST_PARTICLES * max(map(len, _PARTICLES.split()))
    + max(map(len, _COPULA.split()))
    + len("요")
    + 1
)
"""How many characters behind a phrase tell whether it ends there."""
_GAP = rf"[\s\-_.]{{1,{_LONGEST_GAP}}}"


@dataclass(slots=True)
class _Node:
    """What may follow; `ends` where a phrase does."""

    following: dict[str, "_Node"] = field(default_factory=dict)
    ends: bool = False


class Deny:
    """Looks for phrases as whole words: Korean ones may have particles, and forms of 이다.

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
    roots: dict[str, _Node] = {}
    for phrase in phrases:
        node = roots.setdefault(_end(phrase), _Node())
        for character in phrase:
            node = node.following.setdefault(character, _Node())
        node.ends = True
    ways = "|".join(f"{_regex(root)}{end}" for end, root in roots.items())
    return re.compile(f"(?<![0-9a-z가-힣])(?:{ways})", re.IGNORECASE)


def _end(phrase: str) -> str:
    """Return what stands behind a phrase where it ends a word."""
    if "가" <= phrase[-1] <= "힣":
        return _endings(behind_a_vowel=(ord(phrase[-1]) - ord("가")) % _FINALS == 0)
    return "(?![0-9a-z])" if phrase[-1].isalnum() else ""


def _endings(*, behind_a_vowel: bool) -> str:
    """Return what may follow a Korean phrase: particles, and then a form of 이다."""
    copula = f"{_COPULA} {_COPULA_BEHIND_A_VOWEL}" if behind_a_vowel else _COPULA
    particles = f"(?:{_one_of(_PARTICLES)}){{0,{_MOST_PARTICLES}}}"
    return f"{particles}(?:(?:{_one_of(copula)})요?)?(?![가-힣])"


def _one_of(words: str) -> str:
    return "|".join(sorted(words.split(), key=len, reverse=True))


def _regex(node: _Node) -> str:
    ways = [
        (_GAP if character == " " else re.escape(character)) + _regex(following)
        for character, following in node.following.items()
    ]
    ways += [""] * node.ends
    return ways[0] if len(ways) == 1 else f"(?:{'|'.join(ways)})"
