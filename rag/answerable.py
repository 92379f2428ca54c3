"""Do the found passages hold the answer? Better none than a wrong one."""

import math
from dataclasses import dataclass

from rag.evidence import weigh
from rag.types import Retrieval

_THRESHOLD = 0.5
# Logistic regression over questions with and without an answer; see docs/architecture.md.
_COVERAGE_ONLY = (-9.0, 15.0)
_WITH_SIMILARITY = (-8.0, 6.0, 9.0)


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
    _, evidence = weigh(retrieval)
    if not evidence:
        return Verdict(answerable=False, confidence=0.0, reason="no passage was found")
    covered = max(e.coverage for e in evidence)
    similarity = _similarity(retrieval)
    if similarity is None:
        bias, slope = _COVERAGE_ONLY
        confidence = _logistic(bias + slope * covered)
        reason = f"{covered:.0%} of the question's weight is in one place"
    else:
        bias, slope, dense = _WITH_SIMILARITY
        confidence = _logistic(bias + slope * covered + dense * similarity)
        reason = f"{covered:.0%} of the question's weight is in one place, cosine {similarity:.2f}"
    return Verdict(confidence >= _THRESHOLD, confidence, reason)


def _similarity(retrieval: Retrieval) -> float | None:
    if not retrieval.dense_weight:
        return None
    known = [p.similarity for p in retrieval.passages if p.similarity is not None]
    return max(known, default=None)


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))
