"""The figures of a run, and what counts as worse."""

import pytest

from rag.eval.metrics import Found
from rag.eval.report import Asked, by_language, drops, fit_dense_weights, measure, shortfalls
from rag.eval.sets import Expected, Question


def asked(*sources: str, wanted: str = "a", language: str = "en", seconds: float = 0.01) -> Asked:
    question = Question("?", (Expected(wanted),), language)
    return Asked(question, [Found(source, None, "") for source in sources], seconds)


def test_each_metric_is_the_mean_over_the_questions_it_applies_to() -> None:
    metrics = measure([asked("a", "b"), asked("b", "a", seconds=0.03)])
    assert metrics["questions"] == 2
    assert (metrics["recall@1"], metrics["recall@5"], metrics["mrr"]) == (0.5, 1.0, 0.75)
    assert (metrics["latency_p50_ms"], metrics["latency_p95_ms"]) == (10.0, 30.0)
    assert not {"page_accuracy", "answered", "abstained"} & set(metrics)


def test_abstention_counts_both_ways() -> None:
    nothing, something = Question("?", (), "en"), Question("?", (Expected("a"),), "en")
    metrics = measure(
        [
            Asked(nothing, [], 0.0, answered=False),
            Asked(nothing, [], 0.0, answered=True),
            Asked(something, [], 0.0, answered=True),
        ]
    )
    assert (metrics["abstained"], metrics["answered"], metrics["mrr"]) == (0.5, 1.0, 0.0)


def test_languages_are_told_apart() -> None:
    split = by_language([asked("a"), asked("b", language="ko")])
    assert {name: metrics["mrr"] for name, metrics in split.items()} == {"en": 1.0, "ko": 0.0}


def test_a_metric_under_its_floor_or_not_measured_is_named() -> None:
    assert shortfalls({"mrr": 0.8, "ndcg@10": 0.9}, {"mrr": 0.8}) == []
    assert shortfalls({"mrr": 0.8}, {"mrr": 0.81, "page_accuracy": 0.5}) == [
        "mrr is 0.8000, less than 0.81",
        "page_accuracy is not measured, less than 0.5",
    ]


def test_a_drop_is_more_than_the_tolerance_and_of_a_share() -> None:
    earlier = {"mrr": 0.8, "latency_p50_ms": 5.0, "questions": 9.0}
    assert drops({"mrr": 0.796, "latency_p50_ms": 1.0, "questions": 1.0}, earlier, 0.005) == []
    assert drops({"mrr": 0.79}, earlier, 0.005) == ["mrr dropped from 0.8000 to 0.7900"]


@pytest.mark.parametrize(("right", "expected"), [("near", 1.0), ("words", 0.0)])
def test_the_weight_that_ranks_best_is_fitted(right: str, expected: float) -> None:
    found = [
        Found("words", None, "", lexical=9.0, similarity=0.1),
        Found("both", None, "", lexical=8.9, similarity=0.89),
        Found("near", None, "", lexical=1.0, similarity=0.9),
    ]
    one = Asked(Question("?", (Expected(right),), "en"), found, 0.0)
    weight = fit_dense_weights([one])["en"]
    assert abs(weight - expected) < 0.1


def test_what_has_no_vector_is_fitted_as_a_search_ranks_it() -> None:
    found = [
        Found("near", None, "", lexical=0.0, similarity=0.9),
        Found("foreign", None, "", lexical=9.0),
        Found("far", None, "", lexical=1.0, similarity=0.1),
    ]
    one = Asked(Question("?", (Expected("foreign"),), "en"), found, 0.0)
    assert fit_dense_weights([one]) == {"en": 0.5}


def test_where_any_weight_will_do_it_stays_a_half() -> None:
    found = [Found("a", None, "", 2.0, 0.9), Found("b", None, "", 1.0, 0.1)]
    assert fit_dense_weights([Asked(Question("?", (Expected("a"),), "en"), found, 0.0)]) == {
        "en": 0.5
    }


def test_without_embeddings_there_is_nothing_to_fit() -> None:
    assert fit_dense_weights([asked("a", "b")]) == {}
