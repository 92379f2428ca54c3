"""Do the found passages hold the answer? Better none than a wrong one."""

import asyncio
import heapq
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from rag.asked import asked
from rag.embed import Embedder
from rag.evidence import Evidence, weigh
from rag.expected import expected_answer
from rag.lexical import most_possible, tokens
from rag.named import About, narrowed
from rag.nearness import cosines, nearness
from rag.types import Retrieval
from rag.words import has_aside

Code = Literal["answerable", "nothing_found", "few_words", "far_in_meaning"]
"""Why a verdict is what it is.

`nothing_found`: there is no passage. `few_words`: too little of what the question asks stands in
one place, or no place is about what it names. `far_in_meaning`: its words do, but nothing there
is near to what it asks.
"""

# As `naru eval --fit-abstention` prints them; docs/evaluation.md says on what.
_BY_WORDS: Mapping[str, float] = {"constant": -4.73, "coverage": 6.8, "score": 2.79, "margin": 3.07}
_BY_PASSAGES: Mapping[str, float] = {
    "constant": -3.8,
    "coverage": 3.18,
    "score": 2.27,
    "margin": 2.31,
    "similarity": 4.48,
}
_BY_NEARNESS: Mapping[str, float] = {
    "constant": -5.39,
    "nearness": 8.01,
    "score": 1.59,
    "margin": 2.06,
}
THRESHOLD = 0.45
"""Below this probability a question counts as not answered."""
_WORDS_SUFFICE = 0.5
_OTHER_KIND_SHARE = 0.85
_OF_ANOTHER_SHARE = 0.4
"""Of the confidence, where no passage is about the product or month that the question names."""
_STEPS = (1, 1, 2, 8)  # sentences embedded at a time: half of all questions need the first alone
_SENTENCES = sum(_STEPS)
_NEARER = 0.3
"""How far a sentence's cosine is above its passage's at most, of those that decided a verdict."""
_EMBED_TIMEOUT_S = 1.0


@dataclass(frozen=True, slots=True)
class Signals:
    """What a verdict rests on, each 0 to 1.

    Attributes:
        coverage: Share of the question's weight in the best place; less where a date or an amount
            is asked and there is none.
        score: The best passage's BM25, as a share of the most that the question could get.
        margin: How far it is above the next one's.
        similarity: The best passage's cosine, where the embedding voted.
        nearness: The best sentence's, with a little of its coverage; where it was asked for.
        of_another: Whether no passage is about the product or month that the question names.
    """

    coverage: float
    score: float
    margin: float
    similarity: float | None = None
    nearness: float | None = None
    of_another: bool = False

    @property
    def known(self) -> dict[str, float]:
        """Return the signals with a weight that there are, by name."""
        named = {name: getattr(self, name) for name in self.__slots__ if name != "of_another"}
        return {name: value for name, value in named.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether to answer.

    Attributes:
        answerable: False means: say that the documents do not hold it.
        confidence: Estimated probability that they do, 0 to 1.
        reason: For an operator or an explanation; holds no text of user or document.
        code: The reason in a word that stays the same.
        threshold: From which confidence on it is answered.
        signals: What it rests on; None where nothing was found.
    """

    answerable: bool
    confidence: float
    reason: str
    code: Code
    threshold: float = THRESHOLD
    signals: Signals | None = None


def judge(retrieval: Retrieval, threshold: float | None = None) -> Verdict:
    """Weigh the question's words, and the passages' vectors where those voted."""
    return judge_evidence(retrieval, narrowed(retrieval, weigh(retrieval)[1]), threshold)


async def assess(
    retrieval: Retrieval,
    embedder: Embedder,
    threshold: float | None = None,
    *,
    until_answerable: bool = False,
) -> Verdict:
    """Judge, and ask the embedder how near the best sentences are, where it knows the language.

    Without its answer within 1 s it is the same as `judge`. With `until_answerable` no further
    sentence is embedded once one makes it so, and none that is not likely to: whether it is comes
    out the same for a fraction of the work, and the confidence is the least that it can be.
    """
    about = narrowed(retrieval, weigh(retrieval)[1])
    verdict = judge_evidence(retrieval, about, threshold)
    question, signals = retrieval.read, verdict.signals
    if signals is None or signals.similarity is None or has_aside(question):
        return verdict
    if not embedder.knows(question):
        return verdict
    best = heapq.nlargest(_SENTENCES, about.evidence, key=lambda item: item.coverage)
    steps: list[Sequence[Evidence]] = [best]
    if until_answerable:
        likely = [item for item in best[1:] if _may_answer(item, retrieval, signals, threshold)]
        steps = list(_in_steps([best[0], *likely]))
    loop, nearest = asyncio.get_running_loop(), -math.inf
    deadline, closer = loop.time() + _EMBED_TIMEOUT_S, verdict
    for part in steps:
        near = await cosines(
            asked(question).whole, part, embedder, timeout_s=deadline - loop.time()
        )
        if near is None:
            return verdict
        nearest = max(nearest, *map(nearness, part, near))
        closer = _verdict(replace(signals, nearness=nearest), threshold)
        if closer.answerable:
            break
    return closer


def _may_answer(
    item: Evidence, retrieval: Retrieval, signals: Signals, threshold: float | None
) -> bool:
    """Tell whether a sentence may be near enough, by how near its passage is."""
    similarity = retrieval.passages[item.passage].similarity
    most = 1.0 if similarity is None else similarity + _NEARER
    return _verdict(replace(signals, nearness=nearness(item, most)), threshold).answerable


def _in_steps(items: Sequence[Evidence]) -> Iterator[Sequence[Evidence]]:
    start = 0
    for size in _STEPS:
        if part := items[start : start + size]:
            yield part
        start += size


def judge_evidence(retrieval: Retrieval, about: About, threshold: float | None = None) -> Verdict:
    """Judge a retrieval whose evidence was weighed and narrowed already."""
    if not about.evidence:
        return Verdict(
            answerable=False,
            confidence=0.0,
            reason="no passage was found",
            code="nothing_found",
            threshold=THRESHOLD if threshold is None else threshold,
        )
    expected = expected_answer(retrieval.read)
    first, second = _best_two([passage.lexical for passage in retrieval.passages])
    most = _most_possible(retrieval) or 1.0
    signals = Signals(
        coverage=max(_plausible(item, expected) for item in about.evidence),
        score=min(1.0, first / most),
        margin=min(1.0, (first - second) / most),
        similarity=None if has_aside(retrieval.read) else _similarity(retrieval),
        of_another=not about.is_named,
    )
    return _verdict(signals, threshold)


def _verdict(signals: Signals, threshold: float | None) -> Verdict:
    threshold = THRESHOLD if threshold is None else threshold
    confidence = probability(signals)
    reason = f"{signals.coverage:.0%} of the question's weight stands in one place"
    if signals.similarity is not None:
        reason += f", best cosine {signals.similarity:.2f}"
    if signals.nearness is not None:
        reason += f", nearest sentence {signals.nearness:.2f}"
    if signals.of_another:
        reason += ", none is about what it names"
    code: Code = "answerable"
    if confidence < threshold:
        few = signals.coverage < _WORDS_SUFFICE or signals.similarity is None or signals.of_another
        code = "few_words" if few else "far_in_meaning"
    return Verdict(code == "answerable", confidence, reason, code, threshold, signals)


def probability(signals: Signals) -> float:
    """Return the estimated probability that the passages hold the answer."""
    known = signals.known
    weights = _BY_WORDS if signals.similarity is None else _BY_PASSAGES
    if signals.nearness is not None:
        weights = _BY_NEARNESS
    weighed = (weights.get(name, 0.0) * value for name, value in known.items())
    share = _OF_ANOTHER_SHARE if signals.of_another else 1.0
    return share * _logistic(weights["constant"] + sum(weighed))


def _plausible(evidence: Evidence, expected: re.Pattern[str] | None) -> float:
    """Trust a sentence less that lacks what such a question asks for: a date, an amount."""
    kind = 1.0 if expected is None or expected.search(evidence.text) else _OTHER_KIND_SHARE
    return evidence.coverage * kind


def _most_possible(retrieval: Retrieval) -> float:
    """Return the best score of what is asked; beside it only words that are known.

    A word that only parting a run of words made was not searched for: as good as unknown.
    """
    weights, parts = retrieval.term_weights, asked(retrieval.read)
    own, beside = {*tokens(f"{parts.question} {parts.aside}")}, {*tokens(parts.context)}
    highest = max(weights.values(), default=0.0)
    counted = own | {token for token in beside if weights.get(token, highest) < highest}
    return most_possible({token: weights.get(token, highest) for token in counted})


def _best_two(scores: Sequence[float]) -> tuple[float, float]:
    first, second, *_ = *heapq.nlargest(2, scores), 0.0, 0.0
    return first, second


def _similarity(retrieval: Retrieval) -> float | None:
    if not retrieval.dense_weight:
        return None
    known = [p.similarity for p in retrieval.passages if p.similarity is not None]
    return max(known, default=None)


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))
