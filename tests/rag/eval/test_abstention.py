"""Abstaining by threshold: its figures, the best one, and the fit behind the confidence."""

import pytest

from rag.eval.abstention import Judged, at_thresholds, best_threshold, fit

JUDGED = [
    Judged(answerable=True, confidence=0.9),
    Judged(answerable=True, confidence=0.7),
    Judged(answerable=True, confidence=0.32),
    Judged(answerable=False, confidence=0.1),
    Judged(answerable=False, confidence=0.48),
]


def test_each_threshold_has_its_precision_and_recall() -> None:
    rows = {row.threshold: row for row in at_thresholds(JUDGED, own=0.47)}
    assert (rows[0.02].precision, rows[0.02].recall, rows[0.02].declined) == (1.0, 0.0, 0.0)
    assert (rows[0.3].precision, rows[0.3].recall) == (1.0, 0.5)
    assert (rows[0.47].precision, rows[0.47].recall) == (0.5, 0.5)
    assert rows[0.5].precision == pytest.approx(2 / 3)
    assert rows[0.5].declined == pytest.approx(1 / 3)


def test_the_best_threshold_leaves_most_unanswered_and_is_precise() -> None:
    best = best_threshold(at_thresholds(JUDGED, own=0.45))
    assert (best.precision, best.recall, best.declined) == (1.0, 0.5, 0.0)
    hopeless = [Judged(answerable=True, confidence=0.1), Judged(answerable=False, confidence=0.9)]
    assert best_threshold(at_thresholds(hopeless, own=0.45)).recall in (0.0, 1.0)


def test_a_fit_weighs_what_tells_apart_and_each_kind_of_question_for_itself() -> None:
    told = [
        Judged(n % 2 == 0, 0.0, {"coverage": 0.9 - 0.6 * (n % 2), "margin": 0.1 * (n % 3)})
        for n in range(40)
    ]
    alone = [Judged(answerable=True, confidence=0.0, signals={"nearness": 1.0})]
    nothing = [Judged(answerable=False, confidence=0.0)]
    fitted = fit([*told, *alone, *nothing])
    assert set(fitted) == {"coverage margin"}
    constants = fitted["coverage margin"]
    assert constants["coverage"] > 2
    assert abs(constants["margin"]) < 1
    assert constants["constant"] + 0.9 * constants["coverage"] > 0
    assert constants["constant"] + 0.3 * constants["coverage"] < 0
