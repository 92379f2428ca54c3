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
    assert read(markup).splitlines() == ["종류 | 일수", "병가 | 60"]


def test_blocks_inside_a_cell_stay_in_the_row() -> None:
    markup = """<table><tr> <td> <p>병가</p> <p>(유급)</p></td> <td><ul><li>60</li></ul></td>
    <td></td></tr> <tr><td>a<br>b</td><td>c</td></tr></table>"""
    assert read(markup).splitlines() == ["병가 (유급) | - 60 |", "a b | c"]


def test_cells_over_several_rows_and_columns() -> None:
    markup = """<table><tr><th rowspan=2>지역<th colspan=2>한도<th rowspan=3>매년</tr>
    <tr><th>임원<th>사원</tr><tr><td>북미<td>410<td>215</tr><tr></tr>
    <tr><td rowspan=x>유럽<td>1<td></td><td>2</table>"""
    assert [line for line in read(markup).splitlines() if line] == [
        "지역 | 한도 |  | 매년",
        "지역 | 임원 | 사원 | 매년",
        "북미 | 410 | 215 | 매년",
        "유럽 | 1 |  | 2",
    ]


def test_an_empty_first_cell_keeps_its_place() -> None:
    markup = "<table><tr><td>a<td>b</tr><tr><td><td>c</table>"
    assert read(markup).splitlines() == ["a | b", " | c"]


def test_a_long_table_repeats_its_header() -> None:
    rows = "".join(f"<tr><td>휴가{n}</td><td>{n}</td></tr>\n" for n in range(100))
    markup = f"<p>x</p><table>\n<tr><th>종류</th><th>일수</th></tr>{rows}</table><p>y</p>"
    before, *blocks, behind = read(markup).split("\n\n")
    assert (before, behind) == ("x", "y")
    assert len(blocks) > 1
    assert all(block.startswith("종류 | 일수\n휴가") for block in blocks)
    assert sum(block.count("\n") for block in blocks) == 100


def test_a_table_that_lays_out_a_page_keeps_its_paragraphs() -> None:
    inner = "<table><tr><td>a</td><td>b</td></tr><tr><td>c</td><td>d</td></tr></table>"
    markup = f"<table><tr><td><h1>Title</h1><p>x</p>{inner}</td></tr></table>"
    assert read(markup).splitlines() == ["# Title", "", "x", "", "a | b", "c | d"]


def test_what_no_reader_sees_and_menus_are_left_out() -> None:
    markup = """<body style="visibility:hidden"><nav><a>menu</a></nav><p hidden>a</p>
    <div style="color:red; DISPLAY : none">b<p>c</p></div>
    <p style="display:block">seen</p><p style="visibility:hidden">d</p>"""
    assert read(markup).strip() == "seen"


def test_preformatted_text_keeps_its_lines() -> None:
    assert read("<pre>a\n  b</pre>") == "a\n  b"


def test_markup_nested_deeper_than_the_stack() -> None:
    assert read("<div>" * 3000 + "deep" + "</div>" * 3000) == "deep"
