"""Workbooks: a page per sheet, values as a reader sees them."""

import io
from datetime import date, datetime

import pytest
from documents import entry_of, with_entries, xlsx_of
from knowledge import HOW
from openpyxl import Workbook
from openpyxl.utils import get_column_letter

from rag.chunk import chunk_pages
from rag.errors import UnreadableDocument
from rag.parse.document import parse
from rag.ruler import open_ruler


def test_a_sheet_is_a_page_under_its_name() -> None:
    data = xlsx_of(
        휴가=[["종류", "일수"], ["병가", 60]], 빈=[], 급여=[["직급", "월"], ["과장", 1.5]]
    )
    assert [(page.number, page.text) for page in parse("a.xlsx", data)] == [
        (1, "# 휴가\n\n종류 | 일수\n병가 | 60"),
        (3, "# 급여\n\n직급 | 월\n과장 | 1.5"),
    ]


def test_values_read_as_shown() -> None:
    midnight = datetime.fromisoformat("2026-03-01")
    workbook = Workbook()
    sheet = workbook.active
    sheet.append([midnight, date(2026, 3, 2), midnight.replace(hour=9), True])
    sheet.append([0.1 + 0.2, 1500000, 0.155, "two\nlines"])
    sheet["C2"].number_format = "0.0%"
    target = io.BytesIO()
    workbook.save(target)
    (page,) = parse("a.xlsx", target.getvalue())
    assert page.text.splitlines()[2:] == [
        "2026-03-01 | 2026-03-02 | 2026-03-01 09:00:00 | TRUE",
        "0.3 | 1500000 | 15.5% | two lines",
    ]


@pytest.mark.parametrize(
    ("value", "number_format", "shown"),
    [
        (7, "00000", "00007"),
        (54200000, "#,##0", "54,200,000"),
        (-1234.5, "#,##0.00_);(#,##0.00)", "-1,234.50"),
        (1234.567, "#,##0", "1,234.567"),
        (12.5, '"$"#,##0.00', "$12.50"),
        (12.5, "[$$-409]#,##0.00", "$12.50"),
        (3000, '_-[$₩-412]* #,##0_-;-[$₩-412]* #,##0_-;_-[$₩-412]* "-"_-', "₩3,000"),
        (-3000, '#,##0"원"', "-3,000원"),
        (2.5, "0", "2.5"),
        (1e20, "#,##0", "1e+20"),
        (5, '0" days"', "5"),
    ],
)
def test_numbers_read_as_formatted_but_not_rounded(
    value: float, number_format: str, shown: str
) -> None:
    workbook = Workbook()
    workbook.active["A1"] = value
    workbook.active["A1"].number_format = number_format
    target = io.BytesIO()
    workbook.save(target)
    (page,) = parse("a.xlsx", target.getvalue())
    assert page.text.splitlines()[2:] == [shown]


def test_a_merged_cell_says_its_text_in_each_row() -> None:
    workbook = Workbook()
    sheet = workbook.active
    sheet.title = "표"
    for row in (["2026년 여비"], ["지역", "직급", "한도", "비고"], ["북미", "임원", 410, "달러"]):
        sheet.append(row)
    sheet.append([None, "사원", 215])
    sheet.append([None, None, None])
    sheet.append(["유럽", "임원", 260])
    for merged in ("A1:D1", "A3:A5", "D3:D4"):
        sheet.merge_cells(merged)
    target = io.BytesIO()
    workbook.save(target)
    (page,) = parse("a.xlsx", target.getvalue())
    assert page.text.splitlines()[2:] == [
        *("2026년 여비", "", "지역 | 직급 | 한도 | 비고"),
        *("북미 | 임원 | 410 | 달러", "북미 | 사원 | 215 | 달러", "유럽 | 임원 | 260"),
    ]


def test_merged_cells_make_no_sheet_longer_than_can_be_read() -> None:
    data = xlsx_of(a=[["x", "y"]] * 3000)
    place = "xl/worksheets/sheet1.xml"
    columns = (get_column_letter(number) for number in range(2, 2000))
    merges = "".join(f'<mergeCell ref="{column}1:{column}3000"/>' for column in columns)
    sheet = entry_of(data, place).replace(
        "</sheetData>", f"</sheetData><mergeCells>{merges}</mergeCells>"
    )
    with pytest.raises(UnreadableDocument, match="more text than can be read"):
        parse("a.xlsx", with_entries(data, {place: sheet}))


def test_every_chunk_of_a_long_table_makes_sense() -> None:
    rows = [["이름", "부서", "급여"], *([f"사람{n}", f"{n % 7}팀", n * 1000] for n in range(300))]
    chunks = chunk_pages(
        parse("a.xlsx", xlsx_of(급여표=rows)), HOW["cut"], open_ruler(HOW["ruler"])
    )
    assert len(chunks) > 10
    assert {chunk.heading for chunk in chunks} == {"급여표"}
    lines = [line for chunk in chunks for line in chunk.content.splitlines() if "사람" in line]
    assert lines[250] == "이름: 사람250 | 부서: 5팀 | 급여: 250000"


def test_two_tables_and_a_title_on_a_sheet_stay_apart() -> None:
    first = [["2026년 급여"], ["이름", "급여"], *([f"사람{n}", n] for n in range(60))]
    second = [[None], [None, None, None, "지역", "인원"], [None, None, None, "서울", 10]]
    (page,) = parse("a.xlsx", xlsx_of(표=[*first, *second]))
    lines = [line for line in page.text.splitlines() if line]
    assert lines[1:3] == ["2026년 급여", "이름: 사람0 | 급여: 0"]
    assert lines[-2:] == ["지역 | 인원", "서울 | 10"]
