"""A question's words with their weights, and how far a text holds them."""

import math
import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate, islice

from rag import english, korean
from rag.asked import asked
from rag.lexical import tokens

_PARTS = r"\d+(?:[.,:]\d+)*(?:[가-힣]+|[a-z]{1,2}\b)?|[가-힣]+|[^\W\d_가-힣]+(?:['’]s\b)?"
_WORD = re.compile(_PARTS)
# `E05`, `GX-200-H`: a question's code is one word; a text may write it `GX 200`.
_WORD_OR_CODE = re.compile(rf"(?<![a-z\d-])[a-z]+-?\d[a-z\d]*(?:-[a-z\d]+|\.\d+)*|{_PARTS}")
_PART_OF_CODE = re.compile(r"[a-z]+|\d+(?:\.\d+)*")
# `3년 차`, `3년차부터는` and `3년` are one word.
_NTH = re.compile(r"(\d+(?:년|일|주|개월))\s?차[가-힣]*")
_COUNTER = re.compile(r"몇\s?[가-힣]+")
ASIDE_SHARE = 0.3
"""Weight of words in parentheses beside the rest: a gloss, or what a follow-up leans on."""
CONTEXT_SHARE = 0.15
"""Weight of words that are stated beside the question."""
_INSIDE_COMPOUND = 0.9
_UNITS_TOO = frozenset("만 인 도".split())  # noqa: SIM905 - `200만`, `10인`, `5도`
_PART_EXPONENT = 1.5  # half of a word says less than half of what it means
_IDF_FLOOR = 0.7  # in a store of a few chunks every known word would count next to nothing


@dataclass(frozen=True, slots=True)
class Term:
    """A word of a question that carries meaning.

    Attributes:
        stem: Without ending, casefolded.
        weight: Its inverse document frequency times what its kind of word counts.
        aside: Whether it stands in parentheses only.
    """

    stem: str
    weight: float
    aside: bool = False


def words(text: str) -> list[str]:
    """Return the casefolded words of a text; numbers keep a Korean unit (`15일`)."""
    return _words_of(_normal(text))


def _words_of(normal: str, pattern: re.Pattern[str] = _WORD) -> list[str]:
    return list(map(_plain, pattern.findall(normal)))


def _normal(text: str) -> str:
    return _NTH.sub(r"\1", unicodedata.normalize("NFKC", text).casefold())


@lru_cache(maxsize=8192)
def _plain(word: str) -> str:
    if word[0].isdigit() and (bare := _without_particle(word))[-1].isdigit():
        word = bare
    return english.number(word.removesuffix("'s").removesuffix("’s"))


def content_stems(text: str) -> dict[str, float]:
    """Return the stems of the words that carry meaning, in order, with their kind's weight."""
    stems: dict[str, float] = {}
    found_words = _words_of(_COUNTER.sub(" ", _normal(text)), _WORD_OR_CODE)
    for word, following in zip(found_words, [*found_words[1:], ""], strict=False):
        found = _stem(word, following)
        if found and found[1] > stems.get(found[0], 0):
            stems[found[0]] = found[1]
    return stems


def has_aside(question: str) -> bool:
    """Tell whether a question has words in parentheses."""
    return bool(asked(question).aside)


def question_terms(message: str, idf: Mapping[str, float]) -> tuple[Term, ...]:
    """Return what a message asks about; `idf` as in `rag.types.Retrieval.term_weights`.

    What it states beside its question counts little, and nothing where no document has the word,
    unless it is a number or a code.
    """
    highest = max(idf.values(), default=1.0)
    parts = asked(message)
    own = content_stems(parts.question)
    context = content_stems(parts.context)
    own |= {s: share for s, share in context.items() if s not in own and _names(s)}
    shares = {s: CONTEXT_SHARE * share for s, share in context.items() if _known(s, idf, highest)}
    gloss = content_stems(parts.aside)
    shares |= {s: ASIDE_SHARE * share for s, share in gloss.items()}
    terms = [Term(s, share * _idf(s, idf, highest)) for s, share in own.items()]
    terms += [
        Term(s, share * _idf(s, idf, highest), aside=True)
        for s, share in shares.items()
        if s not in own
    ]
    return tuple(terms)


def _known(stem: str, idf: Mapping[str, float], highest: float) -> bool:
    return _idf(stem, idf, highest) < _IDF_FLOOR + highest


def _names(stem: str) -> bool:
    return stem[0].isdigit() or is_code(stem)


def _stem(word: str, following: str) -> tuple[str, float] | None:
    if "가" <= word[0] <= "힣":
        return korean.stem(word, following)
    if word[0].isdigit():
        return _without_particle(word), 1.0
    if is_code(word):
        return word, 1.0
    weight = english.weight(word)
    return (word, weight) if weight else None


def _without_particle(number: str) -> str:
    """Take the particle off a number: `3년은` is `3년`; `200만` has none."""
    found = korean.PARTICLE.search(number)
    if not found or (found[0] in _UNITS_TOO and number[found.start() - 1].isdigit()):
        return number
    return number[: found.start()]


@lru_cache(maxsize=8192)
def is_code(stem: str) -> bool:
    """Tell whether a stem is letters with digits: a product, an error."""
    return not stem[0].isdecimal() and any(map(str.isdecimal, stem))


@lru_cache(maxsize=1024)
def _code_pattern(code: str) -> re.Pattern[str]:
    """Return what finds a code in a text, in group 1 what makes it another one (`GX-200-H`)."""
    parts = map(re.escape, _PART_OF_CODE.findall(code))
    return re.compile(rf"(?<![a-z\d'’]){'[ ‐–-]?'.join(parts)}(?![a-z\d])(-[a-z\d])?")


def _idf(stem: str, idf: Mapping[str, float], highest: float) -> float:
    weights = [idf[token] for token in tokens(stem) if token in idf]
    return _IDF_FLOOR + max(weights, default=highest)


class Text:
    """A text, ready to be looked into for stems."""

    def __init__(self, text: str) -> None:
        self._text = _normal(text)
        self._words = _words_of(self._text)

    @cached_property
    def _sorted(self) -> Sequence[str]:
        return sorted(self._words)

    @cached_property
    def _joined(self) -> str:
        return "".join(self._words)

    @cached_property
    def _starts(self) -> set[int]:
        """Return where words begin in all of them joined."""
        return {0, *accumulate(map(len, self._words))}

    def holds(self, stem: str) -> float:
        """Return how much of a stem is here, from 0 to 1."""
        if is_code(stem):
            found = _code_pattern(stem).finditer(self._text)
            return max((_INSIDE_COMPOUND if place[1] else 1.0 for place in found), default=0.0)
        if not "가" <= stem[0] <= "힣":
            return float(any(_same(stem, word) for word in self._beginning(stem[:2])))
        return self._holds_hangul(stem)

    def _beginning(self, head: str) -> Iterator[str]:
        """Yield the words of which `head` is the first two letters, or all."""
        for word in islice(self._sorted, bisect_left(self._sorted, head), None):
            if word[:2] != head:
                break
            yield word

    def echoes(self, asked: frozenset[str]) -> float:
        """Return the share of a question's `words` that are here exactly as they stand there."""
        return len(asked.intersection(self._words)) / len(asked) if asked else 0.0

    def _holds_hangul(self, stem: str) -> float:
        """Look for a stem whole, across spaces (`연차휴가`), else for its parts."""
        if whole := self._place(stem):
            return whole
        for cut in range(len(stem) - 1, 1, -1):
            if part := self._place(stem[:cut]):
                rest = self._holds_hangul(stem[cut:]) if len(stem) - cut >= 2 else 0.0
                return math.pow((part * cut + rest * (len(stem) - cut)) / len(stem), _PART_EXPONENT)
        # The head of a Korean compound stands last: `공휴일` is a `휴일`.
        for cut in range(1, len(stem) - 1):
            if part := self._place(stem[cut:]):
                return math.pow(part * (len(stem) - cut) / len(stem), _PART_EXPONENT)
        return 0.0

    def _place(self, stem: str) -> float:
        at = self._joined.find(stem)
        if at < 0:
            return 0.0
        while at >= 0:
            if at in self._starts:
                return 1.0
            at = self._joined.find(stem, at + 1)
        return _INSIDE_COMPOUND if any(stem in word for word in self._words) else 0.0


def _same(stem: str, word: str) -> bool:
    if stem[0].isdigit():
        return word == stem or (not stem.isdigit() and word.startswith(stem))
    return english.same_word(stem, word)


def coverage(terms: Sequence[Term], held: Iterable[float]) -> float:
    """Return the weighted share of the terms that is held; 0 when there are none."""
    total = sum(term.weight for term in terms)
    return sum(t.weight * h for t, h in zip(terms, held, strict=True)) / total if total else 0.0
