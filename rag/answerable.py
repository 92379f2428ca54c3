"""Do the found passages hold the answer? Better none than a wrong one."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from rag.evidence import Evidence, weigh
from rag.expected import expected_answer
from rag.types import Retrieval
from rag.words import has_aside

# Steepness and middle of a logistic over the evidence, fitted on questions with and without an
# answer (KorQuAD v1.0 dev with the answering paragraph in the store, or taken out of it).
_COVERAGE_ONLY = (12.0, 0.5)
_WITH_SIMILARITY = (5.0, 0.67)
_SIMILARITY_SHARE = 1.5
_OTHER_KIND_SHARE = 0.85
_THRESHOLD = 0.5


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether to answer.

    Attributes:
        answerable: False means: say that the documents do not hold it.
        confidence: Estimated probability that they do, 0 to 1.
        reason: For an operator or an explanation; holds no text of user or document.
    """

    answerable: bool
    confidence: float
    reason: str


def judge(retrieval: Retrieval) -> Verdict:
    """Weigh the question's words, and its embedding where that voted, against the passages."""
    return judge_evidence(retrieval, weigh(retrieval)[1])


def judge_evidence(retrieval: Retrieval, evidence: Sequence[Evidence]) -> Verdict:
    """Judge a retrieval whose evidence was weighed already."""
    if not evidence:
        return Verdict(answerable=False, confidence=0.0, reason="no passage was found")
    expected = expected_answer(retrieval.question)
    covered = max(_plausible(e, expected) for e in evidence)
    similarity = _similarity(retrieval)
    reason = f"{covered:.0%} of the question's weight stands in one place"
    if similarity is None or has_aside(retrieval.question):
        steepness, middle = _COVERAGE_ONLY
        confidence = _logistic(steepness * (covered - middle))
    else:
        steepness, middle = _WITH_SIMILARITY
        confidence = _logistic(steepness * (covered + _SIMILARITY_SHARE * similarity - middle))
        reason += f", best cosine {similarity:.2f}"
    return Verdict(confidence >= _THRESHOLD, confidence, reason)


def _plausible(evidence: Evidence, expected: re.Pattern[str] | None) -> float:
    """Trust a sentence less that lacks what such a question asks for: a date, an amount."""
    kind = 1.0 if expected is None or expected.search(evidence.text) else _OTHER_KIND_SHARE
    return evidence.coverage * kind


def _similarity(retrieval: Retrieval) -> float | None:
    if not retrieval.dense_weight:
        return None
    known = [p.similarity for p in retrieval.passages if p.similarity is not None]
    return max(known, default=None)


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))
