"""Metrics against values worked out by hand."""

import math
import random

import pytest
from sklearn.metrics import ndcg_score

from rag.eval.metrics import (
    Found,
    ndcg,
    percentile,
    ranking,
    recall,
    reciprocal_rank,
    right_page,
)
from rag.eval.sets import Expected

A, B, C = Expected("a"), Expected("b"), Expected("c")


def found(*sources: str) -> list[Found]:
    return [Found(source, None, "") for source in sources]


def test_the_share_found_among_the_first() -> None:
    ranks = ranking(found("x", "a", "y", "b"), [A, B, C])
    assert [recall(ranks, [A, B, C], k) for k in (1, 2, 4)] == pytest.approx([0, 1 / 3, 2 / 3])


def test_the_gain_of_a_later_rank_is_discounted() -> None:
    ranks = ranking(found("x", "a", "y", "b"), [A, B])
    expected = (1 / math.log2(3) + 1 / math.log2(5)) / (1 + 1 / math.log2(3))
    assert ndcg(ranks, [A, B], 10) == pytest.approx(expected)
    assert ndcg(ranks, [A, B], 3) == pytest.approx((1 / math.log2(3)) / (1 + 1 / math.log2(3)))


def test_the_discounted_gain_is_that_of_scikit_learn() -> None:
    random.seed(5)
    for _ in range(20):
        grades = {f"d{n}": float(random.choice([0, 0, 1, 2])) for n in range(12)} | {"best": 2.0}
        order = random.sample(sorted(grades), len(grades))
        expected = [Expected(name, grade=grade) for name, grade in grades.items() if grade]
        scores = [[len(order) - order.index(name) for name in grades]]
        theirs = ndcg_score([list(grades.values())], scores, k=10)
        assert ndcg(ranking(found(*order), expected), expected, 10) == pytest.approx(theirs)


def test_one_over_the_rank_of_the_first_right_one() -> None:
    assert reciprocal_rank(ranking(found("x", "y", "b", "a"), [A, B])) == pytest.approx(1 / 3)
    assert reciprocal_rank(ranking(found("x"), [A])) == 0.0


def test_a_document_has_the_rank_of_its_best_passage() -> None:
    ranks = ranking(found("x", "x", "x", "a"), [A])
    assert reciprocal_rank(ranks) == 0.5


def test_a_place_in_a_document_is_found_passage_by_passage() -> None:
    wanted = [Expected("a", page=3, contains="15  Days")]
    passages = [
        Found("a", 2, "15 days"),
        Found("b", 3, "15 days"),
        Found("a", 3, "16 days"),
        Found("a", 3, "get\n15\ndays of"),
    ]
    assert reciprocal_rank(ranking(passages, wanted)) == 0.25


def test_a_chunk_is_found_where_half_of_it_was_seen() -> None:
    wanted = [Expected("a", chunk="first line\nsecond line\n\nthird line!\n")]
    passages = [Found("a", None, "first line\nelse"), Found("a", None, "  third   line!")]
    assert reciprocal_rank(ranking(passages[:1], wanted)) == 0.0
    assert reciprocal_rank(ranking(passages, wanted)) == 0.5


def test_what_one_passage_holds_at_once_is_not_more_than_all() -> None:
    wanted = [Expected("a", contains="x"), Expected("a", contains="y")]
    assert ndcg(ranking([Found("a", None, "x y")], wanted), wanted, 10) == 1.0


def test_the_page_of_the_best_passage() -> None:
    wanted = [Expected("a", page=3), Expected("a", page=4)]
    assert right_page([Found("a", 4, ""), Found("a", 1, "")], wanted) == 1.0
    assert right_page([Found("a", 1, ""), Found("a", 4, "")], wanted) == 0.0
    assert right_page([], wanted) == 0.0
    assert right_page(found("a"), [A]) is None


def test_the_nearest_rank_is_the_percentile() -> None:
    values = [float(n) for n in range(1, 101)]
    assert (percentile(values, 0.5), percentile(values, 0.95)) == (50.0, 95.0)
    assert percentile([7.0], 0.95) == 7.0
