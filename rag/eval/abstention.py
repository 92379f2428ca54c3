"""How well a service knows what it does not know: abstention by threshold, and its fit."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

_THRESHOLDS = [0.02, 0.05, *(step / 20 for step in range(2, 19))]
_WANTED_PRECISION = 0.9
_STEPS = 2000
_RATE = 2.0
_SHRINK = 1e-3


@dataclass(frozen=True, slots=True)
class Judged:
    """A question's verdict beside the truth.

    Attributes:
        answerable: Whether the passages do hold the answer.
        confidence: The estimated probability that they do.
        signals: What it was made of, by name.
    """

    answerable: bool
    confidence: float
    signals: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AtThreshold:
    """What abstaining below a threshold gives.

    Attributes:
        threshold: Of the confidence.
        precision: Share of the abstentions that were right; 1 without any.
        recall: Share of the unanswerable that were left unanswered.
        declined: Share of the answerable that were.
    """

    threshold: float
    precision: float
    recall: float
    declined: float


def at_thresholds(judged: Sequence[Judged], own: float) -> list[AtThreshold]:
    """Return the figures at usual thresholds and at the service's `own`, ascending."""
    return [_at(judged, threshold) for threshold in sorted({*_THRESHOLDS, own})]


def best_threshold(rows: Sequence[AtThreshold]) -> AtThreshold:
    """Return the highest recall at a precision of 0.9 or more; of equals the least declined."""
    precise = [row for row in rows if row.precision >= _WANTED_PRECISION]
    return max(precise or rows, key=lambda row: (row.recall, -row.declined, row.precision))


def _at(judged: Sequence[Judged], threshold: float) -> AtThreshold:
    lacking = [one.confidence < threshold for one in judged if not one.answerable]
    held = [one.confidence < threshold for one in judged if one.answerable]
    abstained = sum(lacking) + sum(held)
    return AtThreshold(
        threshold,
        precision=sum(lacking) / abstained if abstained else 1.0,
        recall=sum(lacking) / (len(lacking) or 1),
        declined=sum(held) / (len(held) or 1),
    )


def fit(judged: Sequence[Judged]) -> dict[str, dict[str, float]]:
    """Return logistic regressions over the signals, one per combination of signals that occurs.

    Questions without any signal, where nothing was found, teach nothing.
    """
    kinds: dict[tuple[str, ...], list[Judged]] = {}
    for one in judged:
        if one.signals:
            kinds.setdefault(tuple(one.signals), []).append(one)
    return {
        " ".join(names): _regression(names, rows)
        for names, rows in kinds.items()
        if len({one.answerable for one in rows}) == 2
    }


def _regression(names: Sequence[str], rows: Sequence[Judged]) -> dict[str, float]:
    """Fit by gradient descent; both outcomes weigh the same, however many there are of each."""
    points = [[1.0, *(one.signals[name] for name in names)] for one in rows]
    held = sum(one.answerable for one in rows)
    shares = [0.5 / (held if one.answerable else len(rows) - held) for one in rows]
    weights = [0.0] * (len(names) + 1)
    for _ in range(_STEPS):
        slope = [_SHRINK * weight for weight in weights]
        for point, one, share in zip(points, rows, shares, strict=True):
            guess = 1 / (1 + math.exp(-sum(w * x for w, x in zip(weights, point, strict=True))))
            miss = share * (guess - one.answerable)
            slope = [s + miss * x for s, x in zip(slope, point, strict=True)]
        weights = [w - _RATE * s for w, s in zip(weights, slope, strict=True)]
    return {name: round(w, 2) for name, w in zip(["constant", *names], weights, strict=True)}
