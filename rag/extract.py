"""Answer without a language model: the passages' best sentences, verbatim and cited."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rag.answerable import THRESHOLD, judge_evidence
from rag.asked import asked
from rag.embed import Embedder
from rag.evidence import Evidence, weigh
from rag.expected import expected_answer
from rag.named import narrowed
from rag.nearness import cosines, nearness
from rag.types import Retrieval
from rag.words import Term, has_aside

_EMBED_TIMEOUT_S = 10.0
_EMBEDDED_SENTENCES = 20
_SIMILARITY_SHARE = 1.0
_FITS_BONUS = 0.12
_RANK_BONUS = 0.03
_ECHO_BONUS = 0.08
_FIRST_BONUS = 0.03  # the first sentence under a heading states the rule, others its details
_NEW_SHARE = 0.3
_LEAST_SHARE = {True: 0.5, False: 0.7}  # of the best score, by whether it fits
_LEAST_NEARNESS = 0.66  # fitted on questions with and without an answer in an English handbook


@dataclass(frozen=True, slots=True)
class Quote:
    """`retrieval.passages[passage].content[start:end] == text`."""

    passage: int
    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A sentence to quote; `fits`: it has what such a question asks for, a date or an amount."""

    evidence: Evidence
    score: float
    fits: bool
    similarity: float | None = None


async def extract(
    retrieval: Retrieval,
    embedder: Embedder,
    *,
    max_quotes: int = 3,
    judged: bool = False,
    threshold: float = THRESHOLD,
) -> tuple[Quote, ...]:
    """Return what answers the question, mostly one sentence, in reading order; () if nothing does.

    Stricter than `judge`, since no model reads the passages: where the embedding has a vote, the
    best sentence itself must be near the question. Without an answer from the embedder within
    10 s the words decide alone. With `judged` the caller has found already that the passages hold
    the answer; `threshold` is what it found that by, and a low one asks for less here too.
    """
    terms, evidence = weigh(retrieval)
    about = narrowed(retrieval, evidence)
    candidates = _by_words(retrieval, about.evidence)
    if retrieval.dense_weight and embedder.knows(retrieval.read):
        question = asked(retrieval.read).whole
        candidates = await _by_meaning(question, embedder, candidates)
    if not candidates:
        return ()
    if candidates[0].similarity is not None and not has_aside(retrieval.read):
        holds = _is_near(candidates[0], threshold)
    else:
        holds = judged or judge_evidence(retrieval, about, threshold).answerable
    if not holds:
        return ()
    return _quotes(_choose(terms, candidates, max_quotes))


def _is_near(best: _Candidate, threshold: float) -> bool:
    least = _LEAST_NEARNESS * min(1.0, threshold / THRESHOLD)
    return nearness(best.evidence, best.similarity or 0.0) >= least


def _by_words(retrieval: Retrieval, evidence: Sequence[Evidence]) -> list[_Candidate]:
    """Return all sentences, best first; equal ones in order of passages."""
    expected = expected_answer(retrieval.read)
    highest = max((passage.score for passage in retrieval.passages), default=0.0) or 1.0
    candidates = []
    for item in evidence:
        fits = bool(expected and expected.search(item.text))
        rank = retrieval.passages[item.passage].score / highest
        score = item.coverage + _FITS_BONUS * fits + _RANK_BONUS * rank
        score += _FIRST_BONUS * (item.sentence.place == 0) + _ECHO_BONUS * item.echo
        candidates.append(_Candidate(item, score, fits))
    return sorted(candidates, key=lambda candidate: -candidate.score)


async def _by_meaning(
    question: str, embedder: Embedder, candidates: list[_Candidate]
) -> list[_Candidate]:
    """Return the best sentences with their similarity in the score."""
    candidates = candidates[:_EMBEDDED_SENTENCES]
    found = [candidate.evidence for candidate in candidates]
    near = await cosines(question, found, embedder, timeout_s=_EMBED_TIMEOUT_S)
    if near is None:
        return candidates
    compared = []
    for candidate, cosine in zip(candidates, near, strict=True):
        score = candidate.score + _SIMILARITY_SHARE * cosine
        compared.append(replace(candidate, score=score, similarity=cosine))
    return sorted(compared, key=lambda candidate: -candidate.score)


def _choose(terms: Sequence[Term], candidates: list[_Candidate], max_quotes: int) -> list[Evidence]:
    """Take the best sentence, and others only for what the question asks beyond it."""
    asked = [0.0 if term.aside else term.weight for term in terms]
    chosen: list[Evidence] = []
    covered = [0.0] * len(terms)
    best = candidates[0].score
    for candidate in candidates:
        held = candidate.evidence.held
        gain = sum(w * max(0.0, h - c) for w, h, c in zip(asked, held, covered, strict=True))
        least = _LEAST_SHARE[candidate.fits] * best
        if chosen and (gain < _NEW_SHARE * sum(asked) or candidate.score < least):
            continue
        chosen.append(candidate.evidence)
        covered = [max(h, c) for h, c in zip(held, covered, strict=True)]
        if len(chosen) == max_quotes:
            break
    return chosen


def _quotes(chosen: list[Evidence]) -> tuple[Quote, ...]:
    first_use = list(dict.fromkeys(item.passage for item in chosen))
    chosen = sorted(chosen, key=lambda e: (first_use.index(e.passage), e.sentence.start))
    return tuple(Quote(e.passage, e.sentence.start, e.sentence.end, e.text) for e in chosen)
