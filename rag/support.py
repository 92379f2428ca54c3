"""Does a passage support a sentence that cites it, and where does it say so?

By words, numbers and quotes; where those leave it open, by meaning, if the model knows the
language. A sentence is not understood: what says the opposite in the same words is supported.
"""

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from rag.embed import Embedder
from rag.embedding_wire import Vector
from rag.errors import EmbedderUnavailable
from rag.nearness import dot
from rag.numbers import standing, stated
from rag.scripts import reads
from rag.sentences import sentences
from rag.types import Passage
from rag.verbatim import find_verbatim, quoted
from rag.words import Text, content_stems

# `tests/rag/test_support.py` has what they must tell apart; docs/evaluation.md how well they do.
_ENOUGH_WORDS = 0.6
_SOME_WORDS = 0.2
_BEHIND_THE_BEST = 0.15
"""A passage that holds so much less of a sentence than another one is about something else."""
_COMPARED = 10
_PART_OF_WORDS = 0.3
"""Where several passages are cited, each says so much, and together they say enough."""
_WORDS_SHARE = 0.5
_NEAR = 0.75
_NEW_SHARE = 0.2  # of a sentence's words, to be worth another sentence of the passage
_SPREAD_SHARE = 0.8  # words that stand all over a passage say less than in one place
_NUMBER = re.compile(r"\d[\d.,:]*(?:개월|시간|퍼센트|[가-힣])?")
_BARE_NUMBER = re.compile(r"\d[\d.,:]*")
_DATE = re.compile(r"(\d{4})([-/])(\d{1,2})\2(\d{1,2})(?!\d)")
_EMBED_TIMEOUT_S = 0.25
_SENTENCES = 40


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence that cites passages.

    Attributes:
        text: The whole of it, without markers.
        before: What of it stands before the marker; enough words there are enough.
    """

    text: str
    before: str = ""


@dataclass(frozen=True, slots=True)
class Span:
    """Where a passage says it: `passage.content[start:end]`."""

    start: int
    end: int


class _Said:
    """A text, ready to be looked into for a claim's words; numbers without a unit are values."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._words = Text(text)

    @cached_property
    def numbers(self) -> frozenset[float]:
        """Return what it may be cited for."""
        return standing(self._text)

    def holds(self, stem: str) -> float:
        """Return how much of a stem is here, from 0 to 1: all of `06` in `6월`."""
        if _BARE_NUMBER.fullmatch(stem):
            return float(stated(stem) <= self.numbers)
        return self._words.holds(stem)


@dataclass(frozen=True, slots=True)
class _Read:
    """A passage, looked into once: `spans` are its sentences."""

    passage: Passage
    whole: _Said
    numbers: frozenset[float]
    spans: Sequence[Span]
    texts: Sequence[_Said]


@dataclass(frozen=True, slots=True)
class _Match:
    """How a passage meets a claim; `numbers` and `quotes` are those of the claim it has."""

    index: int
    words: float
    numbers: frozenset[float]
    quotes: frozenset[str]
    span: Span


class Support:
    """Judges the citations of one answer; what was read of a passage is kept for the next.

    Attributes:
        spans: Per passage that was supported, from the first to the last place that says it.
    """

    def __init__(self, passages: Sequence[Passage], embedder: Embedder | None = None) -> None:
        self._passages = passages
        self._embedder = embedder
        self._reads: dict[int, _Read] = {}
        self._vectors: dict[int, list[Vector]] = {}
        self.spans: dict[int, Span] = {}

    async def supporting(self, claim: Claim, cited: Sequence[int]) -> list[int]:
        """Return which of the cited passages support the claim, in their order.

        Together they must state its numbers and hold its quotes verbatim, each at least one of
        them. An embedder that does not answer within 0.25 s is not asked again.
        """
        numbers = stated(claim.text)
        quotes = frozenset(quote.text for quote in quoted(claim.text))
        together = len(cited) > 1 and self._together(claim.text, cited) >= _ENOUGH_WORDS
        enough = _PART_OF_WORDS if together else _ENOUGH_WORDS
        matches = [self._match(claim, index, numbers, quotes) for index in cited]
        kept = [
            match
            for match in matches
            if (match.numbers or not numbers)
            and (match.quotes or not quotes)
            and (together or match.quotes or not self._behind(claim.text, match.index))
            and await self._says(claim, match, enough)
        ]
        if numbers.difference(*(m.numbers for m in kept)):
            return []
        if quotes.difference(*(m.quotes for m in kept)):
            return []
        for match in kept:
            self._widen(match)
        return [match.index for match in kept]

    def _match(
        self, claim: Claim, index: int, numbers: frozenset[float], quotes: frozenset[str]
    ) -> _Match:
        read = self._read(index)
        held, span = _best_place(read, claim.text)
        if claim.before and held < _ENOUGH_WORDS:
            held = max(held, _best_place(read, claim.before)[0])
        verbatim = {quote: _stands(read.passage, quote) for quote in quotes}
        places = [place for place in verbatim.values() if place and place.end]
        if whole := find_verbatim(read.passage.content, claim.text):
            held, span = 1.0, _sentences_at(read, Span(*whole))
        elif places:
            span = _quotes_or_more(read, claim.text, span, places)
        span = _with_numbers(read, span, numbers)
        found = frozenset(quote for quote, place in verbatim.items() if place)
        return _Match(index, held, numbers & read.numbers, found, span)

    def _behind(self, text: str, index: int) -> bool:
        """Tell whether another passage holds clearly more of what is said, numbers aside."""
        stems = {stem: share for stem, share in _stems(text).items() if not stem[0].isdigit()}
        compared = {*range(min(len(self._passages), _COMPARED)), index}
        held = {n: self._share(stems, n) for n in compared}
        return held[index] < max(held.values()) - _BEHIND_THE_BEST

    def _share(self, stems: Mapping[str, float], index: int) -> float:
        whole = self._read(index).whole
        held = sum(share * whole.holds(stem) for stem, share in stems.items())
        return held / (sum(stems.values()) or 1.0)

    def _together(self, text: str, cited: Sequence[int]) -> float:
        """Return which share of a claim's words stands in one or another of the passages."""
        stems = _stems(text)
        reads = [self._read(index) for index in cited]
        held = [s * max(read.whole.holds(stem) for read in reads) for stem, s in stems.items()]
        return sum(held) / (sum(stems.values()) or 1.0)

    async def _says(self, claim: Claim, match: _Match, enough: float) -> bool:
        if match.words >= enough or match.quotes:
            return True
        read = self._read(match.index)
        nearest = await self._nearest(claim.text, match.index)
        foreign = _script(claim.text) != _script(read.passage.content)
        if nearest is None:
            return foreign and bool(match.numbers)
        if not foreign and match.words < _SOME_WORDS:
            return False
        return nearest + _WORDS_SHARE * match.words >= _NEAR

    async def _nearest(self, text: str, index: int) -> float | None:
        """Return the cosine of the passage's nearest sentence; None where none can tell."""
        embedder, read = self._embedder, self._read(index)
        if embedder is None or not embedder.knows(text) or not embedder.knows(read.passage.content):
            return None
        try:
            async with asyncio.timeout(_EMBED_TIMEOUT_S):
                (asked,) = await embedder.embed([text])
                if index not in self._vectors:
                    content = read.passage.content
                    texts = [content[s.start : s.end] for s in read.spans[:_SENTENCES]]
                    self._vectors[index] = await embedder.embed(texts or [content], "sentence")
        except (EmbedderUnavailable, TimeoutError):
            self._embedder = None
            return None
        cosines = (dot(asked, vector) for vector in self._vectors[index])
        return max(cosines, default=None)

    def _read(self, index: int) -> _Read:
        if index not in self._reads:
            self._reads[index] = _look_into(self._passages[index])
        return self._reads[index]

    def _widen(self, match: _Match) -> None:
        known = self.spans.get(match.index, match.span)
        self.spans[match.index] = _around([known, match.span])


def _look_into(passage: Passage) -> _Read:
    content = passage.content
    spans = [Span(sentence.start, sentence.end) for sentence in sentences(content)]
    whole = _Said(f"{passage.source} {passage.heading}\n{content}")
    page = {float(passage.page)} if passage.page else set()
    texts = [_Said(content[span.start : span.end]) for span in spans]
    return _Read(passage, whole, whole.numbers | page, spans, texts)


def _best_place(read: _Read, text: str) -> tuple[float, Span]:
    """Return which share of the text's words a passage holds, and the sentences that do best."""
    stems = _stems(text)
    total = sum(stems.values())
    everything = Span(0, len(read.passage.content))
    if not total:
        return 0.0, everything
    rows = [[share * held.holds(stem) for stem, share in stems.items()] for held in read.texts]
    chosen, covered = _choose(rows, _NEW_SHARE * total)
    whole = sum(share * read.whole.holds(stem) for stem, share in stems.items())
    held = max(sum(covered), _SPREAD_SHARE * whole) / total
    return held, _around([read.spans[n] for n in chosen]) if chosen else everything


def _quotes_or_more(read: _Read, text: str, best: Span, quotes: Sequence[Span]) -> Span:
    """Return the quotes alone where the best place has no other word of the text, else both."""
    content = read.passage.content
    alone = _around(quotes)
    said = _Said(content[alone.start : alone.end])
    around = content[best.start : best.end]
    more = _Said(around)
    if not any(more.holds(stem) > said.holds(stem) for stem in _stems(text)):
        return alone
    elsewhere = [q for q in quotes if not find_verbatim(around, content[q.start : q.end])]
    return _around([best, *elsewhere])


def _with_numbers(read: _Read, span: Span, numbers: frozenset[float]) -> Span:
    """Widen a span to the nearest sentences with those of the numbers that it lacks."""
    content = read.passage.content
    lacking = (numbers & read.numbers) - standing(content[span.start : span.end])
    for number in sorted(lacking):
        having = [
            s for s, said in zip(read.spans, read.texts, strict=True) if number in said.numbers
        ]
        nearest = min(having, key=lambda each: _apart(span, each), default=span)
        span = _around([span, nearest])
    return span


def _apart(one: Span, other: Span) -> int:
    return max(one.start - other.end, other.start - one.end, 0)


def _stems(text: str) -> dict[str, float]:
    """Return the words that say something; a number with its unit alone (`15일입니다`).

    A date is one word, `2026.06.15`: what it is about must count beside it.
    """
    stems: dict[str, float] = {}
    for stem, share in content_stems(_DATE.sub(r"\1.\3.\4", text)).items():
        number = _NUMBER.match(stem)
        stems.setdefault(number[0] if number else stem, share)
    return stems


def _sentences_at(read: _Read, span: Span) -> Span:
    """Return the whole of the sentences that a span touches."""
    touched = [each for each in read.spans if each.start < span.end and span.start < each.end]
    return _around([span, *touched])


def _choose(rows: Sequence[Sequence[float]], least: float) -> tuple[list[int], list[float]]:
    """Take the row that holds most, then the one that adds most to it, if that is enough."""
    chosen: list[int] = []
    covered = [0.0] * len(rows[0]) if rows else []
    for _ in range(2):
        together = [[*map(max, covered, row)] for row in rows]
        best = max(range(len(rows)), key=lambda n: sum(together[n]), default=None)
        if best is None or sum(together[best]) - sum(covered) < (least if chosen else 1e-9):
            break
        chosen.append(best)
        covered = together[best]
    return chosen, covered


def _stands(passage: Passage, quote: str) -> Span | None:
    """Return where a quote stands in a passage; an empty span where it is of its title."""
    if place := find_verbatim(passage.content, quote):
        return Span(*place)
    title = f"{passage.heading}\n{passage.source}"
    return Span(0, 0) if find_verbatim(title, quote) else None


def _around(spans: Iterable[Span]) -> Span:
    spans = list(spans)
    return Span(min(span.start for span in spans), max(span.end for span in spans))


def _script(text: str) -> bool:
    """Tell whether a text is in Latin letters, as far as it has letters."""
    return reads(["en"], text)
