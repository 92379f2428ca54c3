"""HTML as a reader sees it."""

from rag.parse.html import parse_html
from rag.parse.text import tidy


def read(markup: str) -> str:
    return tidy(parse_html(markup))


def test_blocks_headings_and_lists() -> None:
    markup = """<html><head><title>t</title><style>p{}</style></head><body><h1>휴가  규정</h1>
    <p>연차는 <b>15일</b>이다.<br>다음 해 소멸.</p><ul><li>하나</li><li>둘</li></ul>
    <script>alert(1)</script></body></html>"""
    expected = "# 휴가 규정\n\n연차는 15일이다.\n다음 해 소멸.\n\n- 하나\n- 둘"
    assert read(markup) == expected


def test_a_table_row_is_a_line() -> None:
    markup = "<table><tr><th>종류</th><th>일수</th></tr><tr><td>병가</td><td>60</td></tr></table>"
    assert read(markup).splitlines() == ["종류 | 일수 |", "병가 | 60 |"]


def test_preformatted_text_keeps_its_lines() -> None:
    assert read("<pre>a\n  b</pre>") == "a\n  b"


def test_markup_nested_deeper_than_the_stack() -> None:
    assert read("<div>" * 3000 + "deep" + "</div>" * 3000) == "deep"
