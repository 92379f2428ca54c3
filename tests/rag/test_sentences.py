"""Where sentences begin and end, and what is only a heading."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.sentences import sentences


def cut(content: str) -> list[str]:
    return [content[s.start : s.end] for s in sentences(content)]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("Open from 9 a.m. to 6 p.m. on weekdays. Ask Dr. Kim.", 2),
        ("Due by 5 p.m. Later ones wait.", ["Due by 5 p.m.", "Later ones wait."]),
        ("급여는 25일입니다. 상여는 6월입니다.", ["급여는 25일입니다.", "상여는 6월입니다."]),
        ("시행일은 2026. 1. 1. 입니다.", 1),
        ("Born in 1867. She died in 1934.", ["Born in 1867.", "She died in 1934."]),
        ("1. Clean it. 2. Dry it.", ["1. Clean it.", "2. Dry it."]),
        ("- Leave: 15 days\n- Sick: 10 days", ["Leave: 15 days", "Sick: 10 days"]),
        ("| Leave | 15 |\n| Sick | 10 |", 2),
        ("이 문장은 종이가 끝나서 여기에서 줄이\n바뀌었을 뿐이며 하나입니다.", 1),
        ("Core hours are from ten in the morning to 4\np.m. each day.", 1),
        ("", []),
        ("no full stop", ["no full stop"]),
    ],
)
def test_sentences(content: str, expected: list[str] | int) -> None:
    found = cut(content)
    assert found == expected if isinstance(expected, list) else len(found) == expected


def test_headings_stand_above_and_are_not_quoted() -> None:
    content = "# Leave\n\nFifteen days.\n\n신청\n3일 전에 신청합니다. 팀장이 승인합니다.\n12"
    found = [(s.heading, content[s.start : s.end], s.place) for s in sentences(content)]
    assert found == [
        ("Leave", "Fifteen days.", 0),
        ("신청", "3일 전에 신청합니다.", 0),
        ("신청", "팀장이 승인합니다.", 1),
    ]


def test_a_question_as_heading() -> None:
    content = "체육관은 언제 여나요?\n평일 오전 6시부터 엽니다."
    assert cut(content) == ["평일 오전 6시부터 엽니다."]


ROWS = "GG-1 | 32 | Ethernet\nGG-2 | 128 | Ethernet and LTE\ngg-3 | 512 | Dr. Kim. No fibre"
HEADER = "Model | Sensors supported | Uplink"


@pytest.mark.parametrize("apart", ["\n", "\n\n"])
@pytest.mark.parametrize("behind", ["", "직원 수는 387명이다."])
def test_short_lines_that_say_the_same_of_different_things_are_a_list(
    apart: str, behind: str
) -> None:
    lines = [
        "평택공장 담당자 도하준",
        "아산공장 담당자 민서현",
        "본사 비서실 윤",
        "본사 담당자 고은별",
    ]
    content = apart.join(["당직 명단", *lines, *filter(None, [behind])])
    found = sentences(content)
    assert cut(content) == [*lines, *filter(None, [behind])]
    assert {sentence.heading for sentence in found} == {"당직 명단"}


def test_a_list_with_values_and_headings_of_its_own() -> None:
    lines = ["인사팀 팀장 백지우", "생산본부: 본부장 황보라", "영업1팀 팀장 남궁민", "무게: 5 kg"]
    assert cut("\n".join(lines)) == lines


def test_behind_a_list_a_heading_may_stand() -> None:
    content = "아산공장 담당자 민\n평택공장 담당자 도\n\n휴가 신청\n3일 전에 신청합니다."
    assert [s.heading for s in sentences(content)] == ["", "", "휴가 신청"]


def test_short_lines_that_nothing_follows_head_nothing() -> None:
    assert cut("임원\n대표이사 강정우\n연구소장 문태오\n영업본부장 배시우") == [
        *("대표이사 강정우", "연구소장 문태오", "영업본부장 배시우")
    ]
    assert (
        cut("# 임원\n대표이사 강정우\n연구소장 문태오\n영업본부장 배시우")[0] == "대표이사 강정우"
    )
    assert cut("휴가 규정\n연차 휴가\n발생 15일") == ["발생 15일"]


def test_a_table_row_is_a_sentence_under_the_header() -> None:
    found = sentences(f"Gateways\n{HEADER}\n{ROWS}\nAll are grey.")
    assert cut(f"{HEADER}\n{ROWS}") == ROWS.split("\n")
    assert [s.heading for s in found] == [*[f"Gateways\n{HEADER}"] * 3, "Gateways"]
    assert [s.place for s in found] == [1, 2, 3, 4]


def test_a_header_is_known_by_the_rule_below_it_and_where_it_is_repeated() -> None:
    assert cut("| A | B |\n|---|:-:|\n| c | d |\n| e | f |") == ["| c | d |", "| e | f |"]
    assert cut(f"{HEADER}\n{ROWS}\n\n{HEADER}\nGG-4 | 8 | LTE")[3:] == ["GG-4 | 8 | LTE"]


def test_a_header_may_count_its_columns() -> None:
    assert cut("직급 | 1호봉 | 2호봉\n과장 | 448 | 462\n차장 | 535 |") == [
        *("과장 | 448 | 462", "차장 | 535 |")
    ]


@pytest.mark.parametrize(
    "table",
    [
        "성명 | 김철수 | 부서 | 영업팀\n입사 | 2020-01-02 | 전화 | 02-1234",
        "담당 부서 | 인사팀\n전화 | 02-1234",
        "인사팀 | 백지우 | 서울\n총무팀 | 여운형 | 부산",
        "무게 | 142 g\n방수 | IP67",
        "M6 | 볼트 | 30\nM8 | 너트 | 40",
        "이름: 김 | 내선: 1\n이름: 이 | 내선: 2",
    ],
)
def test_the_first_row_is_quoted_where_it_may_be_no_header(table: str) -> None:
    assert cut(table) == table.split("\n")


def test_a_row_of_paragraphs_is_cut() -> None:
    assert len(cut("긴 문장이다. " * 60 + "| b")) > 20


@given(st.text(alphabet="ab 다.?!\n#-|1\r\t", max_size=120))
def test_sentences_are_spans_in_order_without_overlap(content: str) -> None:
    spans = [(s.start, s.end) for s in sentences(content)]
    assert all(content[start:end].strip() for start, end in spans)
    assert all(a[1] <= b[0] for a, b in pairwise(spans))
