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


@given(st.text(alphabet="ab 다.?!\n#-|1\r\t", max_size=120))
def test_sentences_are_spans_in_order_without_overlap(content: str) -> None:
    spans = [(s.start, s.end) for s in sentences(content)]
    assert all(content[start:end].strip() for start, end in spans)
    assert all(a[1] <= b[0] for a, b in pairwise(spans))
