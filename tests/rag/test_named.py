"""Whether passages are about the very product, or month, that a question names."""

from dataclasses import replace

import pytest
from msgspec import structs
from passages import retrieval_of

from rag.answerable import judge
from rag.evidence import weigh
from rag.named import narrowed

GX = ["GX-110 교정 주기는 3개월이다.", "GX-220 교정 주기는 4개월이다.", "교정은 매년 한다."]
SALES = "1분기 매출은 412억 원이다. 2분기 목표는 450억 원이다."
RETURNS = "3월 고객 반품률은 1.8%로 2월의 2.6%에서 내려갔다."


def about(question: str, *contents: str) -> tuple[list[str], bool]:
    retrieval = retrieval_of(question, *contents)
    evidence, is_named = narrowed(retrieval, weigh(retrieval)[1])
    return [item.text for item in evidence], is_named


def test_passages_that_name_the_product_are_kept() -> None:
    assert about("GX-220의 교정 주기는?", *GX) == ([GX[1]], True)
    assert about("GX-220과 GX-110의 교정 주기는?", *GX) == (GX[:2], True)
    assert about("교정 주기는?", *GX) == (GX, True)


def test_a_product_of_no_passage_leaves_all_of_them() -> None:
    assert about("GX-335의 교정 주기는?", *GX) == (GX, False)
    assert about("오류 E99의 원인은?", *GX) == (GX, False)
    assert about("그럼 무게는요? (GX-335)", *GX) == (GX, True)


def test_a_passage_that_names_it_and_has_nothing_to_quote_leaves_all_of_them() -> None:
    assert about("GX-220의 교정 주기는?", "# GX-220", GX[2]) == ([GX[2]], True)
    assert judge(retrieval_of("GX-220의 교정 주기는?", "# GX-220", GX[2])).signals


def test_the_files_name_counts() -> None:
    retrieval = retrieval_of("GX-110의 교정 주기는?", GX[2])
    passage = structs.replace(retrieval.passages[0], source="GX-110_설명서.pdf")
    named = replace(retrieval, passages=(passage,))
    assert [narrowed(each, weigh(each)[1])[1] for each in (retrieval, named)] == [False, True]


@pytest.mark.parametrize(
    ("question", "content", "is_named"),
    [
        ("1분기 매출은 얼마인가요?", SALES, True),
        ("3분기 매출은 얼마인가요?", SALES, False),
        ("3월 고객 반품률은?", RETURNS, True),
        ("4월의 고객 반품률은?", RETURNS, False),
        ("4월에 반품하면 어떻게 되나요?", RETURNS, True),
        ("4월 1일 반품은?", RETURNS, True),
        ("4월 고객 반품률은?", "고객 반품률은 1월부터 6월까지 1.8%이다.", True),
        ("4월 고객 반품률은?", "1~6월 고객 반품률은 1.8%이다.", True),
        ("Q3 revenue?", "The revenue of the third quarter.", True),
    ],
)
def test_another_month_or_quarter_is_another_thing(
    question: str, content: str, is_named: bool
) -> None:
    assert about(question, content)[1] is is_named


def test_nothing_found_is_about_nothing() -> None:
    assert about("GX-335의 교정 주기는?") == ([], False)
    assert about("교정 주기는?") == ([], True)
