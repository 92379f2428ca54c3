"""Lines of a page become paragraphs again."""

import pytest
from knowledge import pdf_of

from rag.parse.pdf import parse_pdf, unwrap


def test_wrapped_lines_are_joined() -> None:
    text = "연차 유급휴가는 입사일을 기준으로 일 년에\n열다섯 날을 준다.\n다음 문장"
    assert unwrap(text) == "연차 유급휴가는 입사일을 기준으로 일 년에 열다섯 날을 준다.\n다음 문장"


@pytest.mark.parametrize("second", ["- item", "② 둘째", "제3조(휴가)", "2) two", "# head"])
def test_what_starts_a_block_is_not_joined(second: str) -> None:
    text = f"a line about as wide as the page\n{second}"
    assert unwrap(text) == text


def test_short_lines_stay_apart() -> None:
    text = "Leave\nEvery employee has fifteen days of annual leave."
    assert unwrap(text) == text


def test_a_word_broken_across_lines_is_whole_again() -> None:
    (page,) = parse_pdf(pdf_of(["The employ-", "ee asks the manager for the days."]))
    assert page.text == "The employee asks the manager for the days."
