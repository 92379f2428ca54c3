"""Two scores become one."""

import pytest
from msgspec.structs import replace
from passages import retrieval_of

from rag.fusion import Voted, fuse
from rag.types import Fusion


def fused(
    lexical: list[float],
    similarity: list[float | None],
    dense_weight: float,
    fusion: Fusion = "average",
) -> list[float]:
    plain = retrieval_of("?", *(str(n) for n in range(len(lexical)))).passages
    passages = [
        replace(passage, lexical=words, similarity=near)
        for passage, words, near in zip(plain, lexical, similarity, strict=True)
    ]
    return [passage.score for passage in fuse([Voted(passages, dense_weight)], fusion)]


def test_the_average_of_what_was_scaled_over_the_candidates() -> None:
    assert fused([10.0, 5.0, 0.0], [0.2, 0.8, 0.5], 0.5) == pytest.approx([0.5, 0.75, 0.25])


def test_the_weight_is_the_share_of_the_embedding() -> None:
    assert fused([10.0, 5.0, 0.0], [0.2, 0.8, 0.5], 0.2) == pytest.approx([0.8, 0.6, 0.1])


def test_without_a_vote_the_words_decide() -> None:
    assert fused([4.0, 2.0, 3.0], [None, None, None], 0.0) == [1.0, 0.0, 0.5]


def test_a_candidate_without_a_vector_is_scored_by_its_words() -> None:
    scores = fused([0.0, 10.0, 0.0], [0.4, None, 0.1], 0.5)
    assert scores == [0.5, 1.0, 0.0]


def test_without_a_vector_few_words_are_no_meaning() -> None:
    both_like, few_words = fused([10.0, 6.0, 0.0], [0.6, None, 0.1], 0.5)[:2]
    assert few_words == pytest.approx((0.6 + 0.36) / 2)
    assert few_words < 0.5 < both_like


def test_ranks_give_a_candidate_without_a_vector_nothing_in_that_leg() -> None:
    assert fused([2.0, 1.0], [None, 0.4], 0.5, "rrf") == pytest.approx([0.5, (61 / 62 + 1) / 2])


@pytest.mark.parametrize(("lexical", "expected"), [([3.0], [1.0]), ([0.0, 0.0], [0.0, 0.0])])
def test_equal_scores_are_all_or_nothing(lexical: list[float], expected: list[float]) -> None:
    assert fused(lexical, [None] * len(lexical), 0.0) == expected


def test_reciprocal_ranks_see_the_order_alone() -> None:
    scores = fused([9.0, 8.9, 0.1], [0.1, 0.9, 0.2], 0.5, "rrf")
    assert scores == pytest.approx([(1 + 61 / 63) / 2, (61 / 62 + 1) / 2, (61 / 63 + 61 / 62) / 2])


def test_nothing_found_is_nothing_fused() -> None:
    assert fused([], [], 0.5) == []
