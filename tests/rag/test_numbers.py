"""Numbers are compared as values, however they are written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.numbers import standing, stated


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1,500,000원", {1_500_000}),
        ("150만 원", {1_500_000}),
        ("1.5 million won", {1_500_000}),
        ("1만 2천 원", {12_000}),
        ("이틀까지, 세 번", {2, 3}),
        ("twenty-five days", {25}),
        ("9:00부터 12:30까지", {9, 12, 30}),
        ("1. 신청서를 2일 전에 낸다", {2}),
        ("① 신청서를 낸다", set()),
        ("제15조 2항", {15, 2}),
        ("제 15 조에 따라", {15}),
        ("규정 15조 제2항", {15, 2}),
        ("취업규칙제7조의2", {7, 2}),
        ("매출 3조 2천억 원", {3_200_000_000_000}),
        ("경제 15조 규모", {15_000_000_000_000}),
        ("one of the third parties", set()),
    ],
)
def test_what_a_sentence_states(text: str, values: set[float]) -> None:
    assert stated(text) == values


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("오후 3시까지", 15),
        ("by 3 p.m.", 15),
        ("in the third year", 3),
        ("연간 15일", 1),
        ("제15조(휴가)", 15_000_000_000_000),  # as `15조에 따라` reads
        ("15조에 따라", 15),
    ],
)
def test_what_a_passage_may_be_cited_for(text: str, value: float) -> None:
    assert value in standing(text)
    assert value not in stated(text)


@pytest.mark.parametrize("text", ["15조 원", "15조 달러", "15조 2천억 원"])
def test_trillions_of_money_are_no_article(text: str) -> None:
    assert 15 not in standing(text)


@given(st.integers(0, 10**12))
def test_thousands_marks_do_not_count(number: int) -> None:
    assert stated(f"{number:,}") == stated(f"총 {number}원") == {number}


def test_digits_without_end_are_a_number() -> None:
    assert standing("9" * 20_000 + "조") == {float("inf")}


@given(st.text(max_size=60))
def test_a_passage_stands_for_what_it_states(text: str) -> None:
    assert {value for value in stated(text) if value > 0} <= standing(text)
