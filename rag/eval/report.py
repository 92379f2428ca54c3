"""What a run over a set gave, in figures, against floors and an earlier run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from rag.eval.abstention import Judged
from rag.eval.metrics import Found, ndcg, percentile, ranking, recall, reciprocal_rank, right_page
from rag.eval.sets import Expected, Question
from rag.fusion import meanings, normalised

Metrics = Mapping[str, float]

_DEPTHS = (1, 5, 10, 20)
_NDCG_DEPTH = 10
_WEIGHTS = [step / 20 for step in range(21)]
QUALITY = ("recall@", "ndcg@", "mrr", "page_accuracy", "abstained", "answered")
"""How the names of the metrics begin that are shares: more is better."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question and what it found.

    Attributes:
        seconds: How long the search took.
        answered: Whether an agent would answer it; None where that was not asked.
        judged: The verdict behind that.
    """

    question: Question
    found: Sequence[Found]
    seconds: float
    answered: bool | None = None
    judged: Judged | None = None


def measure(asked: Sequence[Asked]) -> dict[str, float]:
    """Return the mean of each metric that the questions allow."""
    answerable = [one for one in asked if not one.question.unanswerable]
    metrics = {"questions": float(len(asked))} | _means([_scores(one) for one in answerable])
    metrics |= _means(
        [{"answered": float(a.answered)} for a in answerable if a.answered is not None]
    )
    left = [a for a in asked if a.question.unanswerable and a.answered is not None]
    metrics |= _means([{"abstained": float(not one.answered)} for one in left])
    times = [1000 * one.seconds for one in asked]
    return metrics | {
        "latency_p50_ms": percentile(times, 0.5),
        "latency_p95_ms": percentile(times, 0.95),
    }


def by_language(asked: Sequence[Asked]) -> dict[str, dict[str, float]]:
    """Return the same per language of the questions."""
    languages = sorted({one.question.language for one in asked})
    return {
        language: measure([one for one in asked if one.question.language == language])
        for language in languages
    }


def shortfalls(metrics: Metrics, floors: Metrics) -> list[str]:
    """Say which metrics are below their floors, or were not measured."""
    return [
        f"{name} is {_shown(metrics.get(name))}, less than {floor:g}"
        for name, floor in floors.items()
        if metrics.get(name, -1.0) < floor
    ]


def drops(metrics: Metrics, earlier: Metrics, tolerance: float) -> list[str]:
    """Say which shares are more than `tolerance` less than in an earlier run."""
    return [
        f"{name} dropped from {value:.4f} to {_shown(metrics.get(name))}"
        for name, value in earlier.items()
        if name.startswith(QUALITY) and metrics.get(name, -1.0) < value - tolerance
    ]


def fit_dense_weights(asked: Sequence[Asked]) -> dict[str, float]:
    """Return per language the embedding's share that ranks best (nDCG@10); ties nearest a half.

    Where no embedding voted there is nothing to fit.
    """
    voted = [
        one
        for one in asked
        if one.question.expected and any(f.similarity is not None for f in one.found)
    ]
    return {
        language: _best_weight([one for one in voted if one.question.language == language])
        for language in sorted({one.question.language for one in voted})
    }


def _best_weight(asked: Sequence[Asked]) -> float:
    def score(weight: float) -> tuple[float, float]:
        mean = fmean(_ndcg(_fused_again(one.found, weight), one.question.expected) for one in asked)
        return round(mean, 6), -abs(weight - 0.5)

    return max(_WEIGHTS, key=score)


def _fused_again(found: Sequence[Found], weight: float) -> list[Found]:
    """Rank anew by the legs' scores, scaled over what was found."""
    words = normalised([passage.lexical for passage in found])
    near = meanings([passage.similarity for passage in found], words)
    scores = [(1 - weight) * w + weight * m for w, m in zip(words, near, strict=True)]
    return [found[place] for place in sorted(range(len(found)), key=lambda i: -scores[i])]


def _scores(one: Asked) -> dict[str, float]:
    expected = one.question.expected
    ranks = ranking(one.found, expected)
    scores = {f"recall@{k}": recall(ranks, expected, k) for k in _DEPTHS}
    scores[f"ndcg@{_NDCG_DEPTH}"] = ndcg(ranks, expected, _NDCG_DEPTH)
    scores["mrr"] = reciprocal_rank(ranks)
    page = right_page(one.found, expected)
    return scores if page is None else scores | {"page_accuracy": page}


def _ndcg(found: Sequence[Found], expected: Sequence[Expected]) -> float:
    return ndcg(ranking(found, expected), expected, _NDCG_DEPTH)


def _means(rows: Sequence[Metrics]) -> dict[str, float]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: fmean(row[name] for row in rows if name in row) for name in names}


def _shown(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.4f}"
