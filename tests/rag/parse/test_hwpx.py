"""Documents of Hangul, the Korean word processor."""

from documents import entry_of, hwpx_of, hwpx_paragraph, with_entries

from rag.parse.document import parse


def read(data: bytes) -> str:
    (page,) = parse("a.hwpx", data)
    assert page.number is None
    return page.text


def cell(*paragraphs: str) -> str:
    return f"<hp:tc><hp:subList>{''.join(paragraphs)}</hp:subList></hp:tc>"


def test_headings_of_the_outline_and_paragraphs() -> None:
    data = hwpx_of(
        hwpx_paragraph("휴가 규정", kind=1)
        + hwpx_paragraph("연차", kind=2)
        + hwpx_paragraph("연차는<hp:lineBreak/>15일<hp:tab/>이다.")
        + hwpx_paragraph("")
    )
    assert read(data) == "# 휴가 규정\n\n## 연차\n\n연차는\n15일 이다."


def test_a_table_row_is_a_line() -> None:
    rows = (("종류", "일수"), ("병가", "60"))
    table = "".join(
        f"<hp:tr>{''.join(cell(hwpx_paragraph(text)) for text in row)}</hp:tr>" for row in rows
    )
    data = hwpx_of(
        f"<hp:p><hp:run><hp:t>표 1</hp:t><hp:tbl>{table}</hp:tbl><hp:t>끝</hp:t></hp:run></hp:p>"
    )
    assert read(data) == "표 1\n\n종류 | 일수\n병가 | 60\n\n끝"


def test_a_cell_over_several_rows_says_its_text_in_each() -> None:
    span = '<hp:cellSpan colSpan="{}" rowSpan="{}"/></hp:tc>'
    region = cell(hwpx_paragraph("북미")).replace("</hp:tc>", span.format(1, 2))
    limit = cell(hwpx_paragraph("한도")).replace("</hp:tc>", span.format(2, 1))
    table = "".join(
        f"<hp:tr>{''.join(cells)}</hp:tr>"
        for cells in (
            [region, limit, cell(hwpx_paragraph("비고"))],
            [cell(hwpx_paragraph("사원")), cell(hwpx_paragraph("215")), cell(hwpx_paragraph(""))],
        )
    )
    data = hwpx_of(f"<hp:p><hp:run><hp:tbl>{table}</hp:tbl></hp:run></hp:p>")
    assert read(data) == "북미 | 한도 |  | 비고\n북미 | 사원 | 215"


def test_paragraphs_of_a_cell_stay_in_its_row() -> None:
    row = cell(hwpx_paragraph("병가"), hwpx_paragraph("(유급)")) + cell(hwpx_paragraph("60"))
    data = hwpx_of(f"<hp:p><hp:run><hp:tbl><hp:tr>{row}</hp:tr></hp:tbl></hp:run></hp:p>")
    assert read(data) == "병가 (유급) | 60"


def test_footnotes_are_read_and_running_heads_are_not() -> None:
    control = "<hp:ctrl><hp:{0}><hp:subList>{1}</hp:subList></hp:{0}></hp:ctrl>"
    data = hwpx_of(
        "<hp:p><hp:run><hp:t>본문</hp:t>"
        + control.format("footNote", hwpx_paragraph("각주"))
        + control.format("header", hwpx_paragraph("머리말"))
        + "</hp:run></hp:p>"
    )
    assert read(data) == "본문\n각주"


def test_sections_come_in_their_order_and_under_any_namespace() -> None:
    data = hwpx_of(hwpx_paragraph("section 0"))
    section = entry_of(data, "Contents/section0.xml")
    later = section.replace("www.hancom.co.kr/hwpml/2011", "www.owpml.org/owpml/2021")
    entries = {
        f"Contents/section{number}.xml": later.replace("section 0", f"section {number}")
        for number in (10, 2)
    }
    assert read(with_entries(data, entries)) == "section 0\n\nsection 2\n\nsection 10"
