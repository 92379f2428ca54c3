"""Questions without spaces."""

import time

import pytest

from rag.lexical import tokens
from rag.runs import parted, pieces

DOCUMENT = """
육아 휴직은 자녀 한 명마다 1년 6개월까지 쓸 수 있습니다. 직원은 입사 3년이 지나면 승진합니다.
출장 경비는 쓴 날부터 30일 안에 정산을 신청하고, 급여에서 공제할 수 있습니다.
"""
KNOWN = dict.fromkeys(tokens(DOCUMENT), 2.0)


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        ("육아휴직은며칠까지쓸수있나요", "육아 휴직은 며칠까지 쓸수있나요"),
        ("출장경비정산은언제신청하나요?", "출장 경비 정산은 언제 신청하나요?"),
        ("입사3년이지나면승진하나요?", "입사3년이 지나면 승진하나요?"),
        ("저는요, 급여공제는몇년까지되나요?", "저는요, 급여 공제는 몇년까지 되나요?"),
    ],
)
def test_a_run_is_parted_where_words_of_the_documents_begin(run: str, expected: str) -> None:
    assert parted(run, KNOWN) == expected


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        ("직원할인쿠폰은어디서받나요", "직원 할인쿠폰은 어디서 받나요"),
        ("주차장요금은얼마인가요", "주차장요금은 얼마인가요"),
    ],
)
def test_what_no_document_has_stays_a_word(run: str, expected: str) -> None:
    assert parted(run, KNOWN) == expected


@pytest.mark.parametrize(
    "text", ["육아 휴직은 며칠까지 쓸 수 있나요?", "배우자 출산휴가는?", "", "x" * 99]
)
def test_a_text_with_spaces_stays_as_it_is(text: str) -> None:
    assert pieces(text) == set()
    assert parted(text, KNOWN) == text


def test_pieces_are_what_may_be_a_word() -> None:
    assert {"육아", "육아휴직", "휴직은"} <= pieces("육아휴직은며칠까지쓸수있나요")
    assert all(1 < len(piece) <= 12 for piece in pieces("육아휴직은며칠까지쓸수있나요"))


@pytest.mark.parametrize("text", ["가" * 4000, "출장경비는얼마인가요 " * 400, "출장,1" * 1000])
def test_a_long_text_takes_no_time(text: str) -> None:
    started = time.perf_counter()
    parted(text, dict.fromkeys(pieces(text), 1.0))
    assert time.perf_counter() - started < 0.2
