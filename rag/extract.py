"""Answer without a language model: the passages' best sentences, verbatim and cited."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass

from rag.answerable import judge
from rag.embed import Embedder
from rag.evidence import Evidence, weigh
from rag.types import Retrieval
from rag.words import Term

_EMBED_TIMEOUT_S = 10.0
_EMBEDDED_SENTENCES = 16
_SIMILARITY_SHARE = 0.8
_EXPECTED_BONUS = 0.12
_RANK_BONUS = 0.03
_NEW_SHARE = 0.3


@dataclass(frozen=True, slots=True)
class Quote:
    """`retrieval.passages[passage].content[start:end] == text`."""

    passage: int
    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Extract:
    """An answer made of quotes.

    Attributes:
        text: The quotes in reading order, each with ` [n]`; n numbers the cited passages from 1
            in order of first use.
        quotes: In the same order.
    """

    text: str
    quotes: tuple[Quote, ...]


async def extract(
    retrieval: Retrieval, embedder: Embedder, *, max_quotes: int = 3
) -> Extract | None:
    """Quote what answers the question, mostly one sentence; None when nothing does.

    Raises:
        EmbedderUnavailable: The embedding model can't be reached.
        TimeoutError: It gave no answer within 10 s.
    """
    if not judge(retrieval).answerable:
        return None
    terms, evidence = weigh(retrieval)
    scored = await _score(retrieval, embedder, evidence)
    chosen = _choose(terms, scored, max_quotes)
    return _compose(chosen)


async def _score(
    retrieval: Retrieval, embedder: Embedder, evidence: list[Evidence]
) -> list[tuple[float, Evidence]]:
    """Return the best sentences first; equal ones in order of passages."""
    expected = expected_answer(retrieval.question)
    best = retrieval.passages[0].score or 1.0
    scored = [
        (
            item.coverage
            + _EXPECTED_BONUS * bool(expected and expected.search(item.text))
            + _RANK_BONUS * retrieval.passages[item.passage].score / best,
            item,
        )
        for item in evidence
    ]
    scored.sort(key=lambda pair: -pair[0])
    if retrieval.dense_weight and embedder.knows(retrieval.question):
        scored = await _add_similarity(retrieval.question, embedder, scored[:_EMBEDDED_SENTENCES])
    return scored


async def _add_similarity(
    question: str, embedder: Embedder, scored: list[tuple[float, Evidence]]
) -> list[tuple[float, Evidence]]:
    async with asyncio.timeout(_EMBED_TIMEOUT_S):
        asked = (await embedder.embed([question]))[0]
        vectors = await embedder.embed([_in_context(item) for _, item in scored])
    scored = [
        (score + _SIMILARITY_SHARE * _dot(asked, vector), item)
        for (score, item), vector in zip(scored, vectors, strict=True)
    ]
    return sorted(scored, key=lambda pair: -pair[0])


def _in_context(item: Evidence) -> str:
    return f"{item.sentence.heading}: {item.text}" if item.sentence.heading else item.text


def _dot(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def _choose(
    terms: Sequence[Term], scored: list[tuple[float, Evidence]], max_quotes: int
) -> list[Evidence]:
    """Take the best sentence, and others only for what the question asks beyond it."""
    total = sum(term.weight for term in terms) or 1.0
    chosen: list[Evidence] = []
    covered = [0.0] * len(terms)
    for score, item in scored:
        gain = sum(
            t.weight * max(0.0, h - c) for t, h, c in zip(terms, item.held, covered, strict=True)
        )
        if chosen and (gain < _NEW_SHARE * total or score < 0.5 * scored[0][0]):
            continue
        chosen.append(item)
        covered = [max(h, c) for h, c in zip(item.held, covered, strict=True)]
        if len(chosen) == max_quotes:
            break
    return chosen


def _compose(chosen: list[Evidence]) -> Extract:
    first_use = list(dict.fromkeys(item.passage for item in chosen))
    chosen = sorted(chosen, key=lambda e: (first_use.index(e.passage), e.sentence.start))
    quotes = [Quote(e.passage, e.sentence.start, e.sentence.end, e.text) for e in chosen]
    parts = [f"{' '.join(q.text.split())} [{first_use.index(q.passage) + 1}]" for q in quotes]
    return Extract(" ".join(parts), tuple(quotes))


_MONEY = (
    r"\d[\d,.]*\s?(?:원|[만천억]|달러|유로|won|dollars?|euros?|percent|퍼센트|%|krw|usd|점)|"
    r"[$€₩]\s?\d|무료|전액|\bfree\b"
)
_UNIT = r"(?:일|주|개월|달|년|시간|분)"
_SPAN = (
    rf"\d+\s?{_UNIT}|이틀|사흘|\b(?:\d+|one|two|three|four|five|six|seven|eight|nine|ten|half an?)"
    r"[ -](?:\w+ )?(?:minutes?|hours?|days?|weeks?|months?|years?)\b"
)
_BEFORE = rf"\d+\s?{_UNIT} ?(?:전|안|이내)|전날|당일|\b(?:before|within|advance|ahead)\b"
_POINT = (
    r"\d+\s?(?:월|일|시|분|년)|매월|매주|매년|[월화수목금토일]요일|말일|오전|오후|전날|당일|"
    r"\d\s?[ap]\.?m|\b(?:mon|tues|wednes|thurs|fri|satur|sun)day|\b(?:january|february|march|april|"
    r"may|june|july|august|september|october|november|december)\b|\b\d+(?:st|nd|rd|th)\b|\bdays?\b"
)
_COUNT = r"\d|\b(?:one|two|three|four|five|six|ten|once|twice|half)\b|[한두세네] (?:번|명|개)|이틀"
_SPAN_ASKED = r"how (?:long|many (?:\w+ )?(?:minutes|hours|days|weeks|months|years))"
_EXPECTED = [
    (rf"(?:며칠|몇 ?{_UNIT}) ?(?:전|안|이내)|how (?:soon|early|late)|in advance", _BEFORE),
    (rf"며칠|몇 ?{_UNIT}|기간|{_SPAN_ASKED}", _SPAN),
    (r"얼마나", rf"{_SPAN}|{_MONEY}|{_COUNT}"),
    (r"얼마|금액|비용|몇 ?(?:원|퍼센트|달러)|how much|(?:amount|price|cost|fee)\b", _MONEY),
    (r"언제|몇 ?시|날짜|기한|when\b|what (?:time|day|date)|deadline", _POINT),
    (r"몇|최대|한도|how (?:many|often)|maximum|limit", _COUNT),
]
_COMPILED = [
    (re.compile(ask, re.IGNORECASE), re.compile(answer, re.IGNORECASE)) for ask, answer in _EXPECTED
]


def expected_answer(question: str) -> re.Pattern[str] | None:
    """Return what an answer to this kind of question looks like, or None when that is open."""
    return next((answer for ask, answer in _COMPILED if ask.search(question)), None)
