"""What of a question carries its meaning, and where a text holds it."""

import pytest

from rag.words import (
    ASIDE_SHARE,
    CONTEXT_SHARE,
    Text,
    content_stems,
    coverage,
    has_aside,
    question_terms,
)


@pytest.mark.parametrize(
    ("question", "stems"),
    [
        ("연차 휴가는 며칠인가요?", ["연차", "휴가"]),
        ("남은 연차를 내년으로 넘길 수 있나요?", ["연차", "내년", "넘기"]),
        ("3년 차부터는 몇 일이죠?", ["3년"]),
        ("VPN은 어떻게 접속하나요?", ["vpn", "접속"]),
        ("How many days of annual leave do I get?", ["days", "annual", "leave"]),
        ("peer-t0-peer", ["peer", "0"]),
        ("in the third year", ["3", "year"]),
        ("그럼 언제 되나요?", []),
        ("GX-200-H의 교정 주기는?", ["gx-200-h", "교정", "주기"]),
        ("오류코드 E05는 무슨 뜻인가요?", ["오류코드", "e05"]),
        ("220은 200만 원, 5도", ["220", "200만", "5도"]),
        ("What does the GX-330's E7 mean?", ["gx-330", "e7", "mean"]),
    ],
)
def test_content_words(question: str, stems: list[str]) -> None:
    assert list(content_stems(question)) == stems


@pytest.mark.parametrize(
    ("stem", "text", "share"),
    [
        ("휴가", "연차 휴가는 15일", 1.0),
        ("휴가", "연차휴가는 15일", 0.9),
        ("연차휴가", "연차 휴가는 15일", 1.0),
        ("연차", "반차는 2시간", 0.0),
        ("3년", "13년 근무", 0.0),
        ("3년", "3년차부터", 1.0),
        ("salaries", "The salary is paid", 1.0),
        ("submitting", "must be submitted", 1.0),
        ("leave", "clear leaves", 1.0),
        ("car", "a card", 0.0),
        ("16", "160 days", 0.0),
        ("3", "the third year", 1.0),
        ("gx-220", "GX-220의 교정 주기", 1.0),
        ("gx-220", "GX 220은, GX220도", 1.0),
        ("gx-220", "GX-110은 220 g이다", 0.0),
        ("gx-200", "GX-200-H는 46,400원", 0.9),
        ("gx-200-h", "GX-200은 40,000원", 0.0),
        ("e05", "E05가 뜨면", 1.0),
        ("s4", "within the team's 4 hours", 0.0),
        ("220", "220은 다섯째이다", 1.0),
        ("200", "200만 원", 0.0),
    ],
)
def test_how_far_a_text_holds_a_stem(stem: str, text: str, share: float) -> None:
    assert Text(text).holds(stem) == share


def test_half_a_compound_counts_less_than_half() -> None:
    assert 0 < Text("연차는 내년 3월까지").holds("연차수당") < 0.5
    assert 0 < Text("휴일에 쉽니다").holds("공휴일") < 1


def test_words_in_parentheses_weigh_less() -> None:
    own, aside = question_terms("병가는요? (연차)", {"병가": 1.0, "연차": 1.0})
    assert not own.aside
    assert aside.aside
    assert aside.weight == pytest.approx(ASIDE_SHARE * own.weight)
    assert has_aside("병가는요? (연차)")
    assert not has_aside("병가는요?")


def test_a_rare_word_weighs_more_and_an_unknown_one_most() -> None:
    terms = question_terms(
        "휴가 안식년 주차", {"휴가": 0.5, "안식": 1.0, "안식년": 2.0, "주차": 3.0}
    )
    assert [round(term.weight, 1) for term in terms] == [1.2, 2.7, 3.7]


def test_coverage_of_nothing_is_nothing() -> None:
    assert coverage([], []) == 0.0
    terms = question_terms("연차 휴가", {"연차": 1.3, "휴가": 1.3})
    assert coverage(terms, [1.0, 0.5]) == pytest.approx(0.75)


def test_what_stands_beside_the_question_counts_little_or_not_at_all() -> None:
    idf = {"규정": 1.0, "연차": 2.0, "많으": 4.0, "gx": 4.0, "220": 4.0}
    terms = question_terms(
        "규정을 읽었고 GX-220이 있습니다. 수고 많으십니다. 연차는 며칠인가요?", idf
    )
    by_stem = {term.stem: term for term in terms}
    assert [*by_stem] == ["연차", "gx-220", "규정"]
    assert by_stem["규정"].aside
    assert by_stem["규정"].weight == pytest.approx(CONTEXT_SHARE * 1.7)
    assert by_stem["gx-220"].weight == pytest.approx(4.7)
