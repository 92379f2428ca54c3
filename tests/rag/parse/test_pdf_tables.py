"""Tables of a PDF, ruled or not, have their rows in lines; prose stays as it was."""

import io
from collections.abc import Sequence
from typing import Any

import pytest
from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import getSampleStyleSheet
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable, PageBreak, Paragraph, SimpleDocTemplate, Table, TableStyle

from rag.parse.pdf import parse_pdf

_STYLE = getSampleStyleSheet()["BodyText"]
_PROSE = (
    "Whoever falls ill tells the manager before ten and hands a certificate in, " * 8
    + "then rests."
)
_ROWS = [
    ["Kind", "Days", "Paid"],
    ["Annual", "15", "yes"],
    ["Sick", "60", "in part"],
    ["", "3", "no"],
]
_LINES = ["Kind | Days | Paid", "Annual | 15 | yes", "Sick | 60 | in part", "| 3 | no"]
_GRID = ("GRID", (0, 0), (-1, -1), 0.5, colors.black)
_NO_SIDES = [
    ("INNERGRID", (0, 0), (-1, -1), 0.5, colors.black),
    ("LINEABOVE", (0, 0), (-1, 0), 1, colors.black),
    ("LINEBELOW", (0, -1), (-1, -1), 1, colors.black),
]


def pdf_of_flow(*flow: Flowable) -> bytes:
    target = io.BytesIO()
    SimpleDocTemplate(target, pagesize=A4).build(list(flow))
    return target.getvalue()


def prose(text: str = _PROSE) -> Paragraph:
    return Paragraph(text, _STYLE)


def table(rows: Sequence[Sequence[Any]], *style: Any) -> Table:
    return Table(rows, colWidths=[150] * len(rows[0]), style=TableStyle(style))


def read(*flow: Flowable) -> list[str]:
    (page,) = parse_pdf(pdf_of_flow(*flow))
    return [line for line in page.text.splitlines() if line]


@pytest.mark.parametrize("style", [[_GRID], _NO_SIDES], ids=["grid", "open sides"])
def test_a_ruled_table_stands_between_its_prose(style: list[Any]) -> None:
    lines = read(prose("Before."), table(_ROWS, *style), prose())
    assert lines == ["Before.", *_LINES, _PROSE]


def test_a_cell_of_several_lines_stays_in_its_row() -> None:
    lines = read(table([["Kind", "Rule"], ["Sick", prose(_PROSE[:200])]], _GRID))
    assert lines == ["Kind | Rule", f"Sick | {_PROSE[:200].strip()}"]


@pytest.mark.parametrize(
    "style",
    [
        ("LINEBELOW", (0, 0), (-1, -1), 0.5, colors.black),
        ("BOX", (0, 0), (-1, -1), 1, colors.black),
    ],
)
def test_rules_between_rows_are_enough(style: Any) -> None:
    long = _PROSE[:200].strip()
    rows = [["Kind", "Rule", "Days"], ["Annual", prose(long), "15"], ["Sick", "none", "60"]]
    ruled = ("LINEABOVE", (0, 0), (-1, -1), 0.5, colors.black)
    lines = read(prose(), table(rows, ruled, style), prose())
    assert lines == [
        _PROSE,
        "Kind | Rule | Days",
        f"Annual | {long} | 15",
        "Sick | none | 60",
        _PROSE,
    ]


def test_three_rules_around_rows_without_any_are_no_row() -> None:
    rules = [
        ("LINEABOVE", (0, 0), (-1, 1), 1, colors.black),
        ("LINEBELOW", (0, -1), (-1, -1), 1, colors.black),
    ]
    assert read(table(_ROWS, *rules)) == _LINES


def test_rules_between_paragraphs_make_no_table() -> None:
    rules = ("LINEBELOW", (0, 0), (-1, -1), 1, colors.black)
    text = _PROSE[-100:].strip()
    assert read(table([[prose(text)], [prose(text)], [prose(text)]], rules)) == [text] * 3


def test_a_word_broken_in_a_cell_is_whole_again() -> None:
    cell = prose("The employ-<br/>ee asks.")
    assert read(table([["Kind", cell], [cell, "no"]], _GRID), prose("An employ-<br/>ee.")) == [
        "Kind | The employee asks.",
        "The employee asks. | no",
        "An employee.",
    ]


def test_cells_over_several_rows_and_columns_are_read_once() -> None:
    rows = [["Leave of all kinds", "", "Paid"], ["Annual", "15", "yes"], ["", "16", "no"]]
    lines = read(table(rows, _GRID, ("SPAN", (0, 0), (1, 0)), ("SPAN", (0, 1), (0, 2))))
    assert lines == ["Leave of all kinds | Paid", "Annual | 15 | yes", "| 16 | no"]


def test_columns_without_rules_are_found_by_their_gaps() -> None:
    lines = read(prose(), table(_ROWS), prose("Behind."))
    assert lines == [_PROSE, *_LINES, "Behind."]


def test_prose_is_read_as_without_tables() -> None:
    pages = parse_pdf(pdf_of_flow(prose(), PageBreak(), prose(), table(_ROWS, _GRID)))
    assert pages[1].text.startswith(pages[0].text)
    assert "|" not in pages[0].text


def test_short_lines_between_tables_stay_apart() -> None:
    lines = read(
        table(_ROWS, _GRID), prose("Phone 1"), prose("Fax 2"), table(_ROWS, _GRID), prose()
    )
    assert lines == [*_LINES, "Phone 1", "Fax 2", *_LINES, _PROSE]


def test_a_frame_around_text_is_no_table() -> None:
    assert read(table([[prose()]], ("BOX", (0, 0), (-1, -1), 1, colors.black))) == [_PROSE]


def test_two_columns_of_prose_are_no_table() -> None:
    target = io.BytesIO()
    canvas = Canvas(target)
    for left in (50, 320):
        for line in range(30):
            canvas.drawString(left, 700 - 14 * line, f"words of column {left} in line {line}")
    canvas.save()
    (page,) = parse_pdf(target.getvalue())
    assert "|" not in page.text


def test_a_drawing_of_many_lines_is_left_alone() -> None:
    target = io.BytesIO()
    canvas = Canvas(target)
    for place in range(500):
        canvas.line(10 + place, 10, 10 + place, 500)
        canvas.line(10, 10 + place, 500, 10 + place)
    canvas.drawString(50, 700, "a chart")
    canvas.save()
    (page,) = parse_pdf(target.getvalue())
    assert page.text == "a chart"


def test_pages_that_are_pictures_do_not_hide_the_others() -> None:
    target = io.BytesIO()
    canvas = Canvas(target)
    canvas.rect(10, 10, 500, 500, fill=1)
    canvas.showPage()
    canvas.drawString(50, 700, "words")
    canvas.save()
    assert [(page.number, page.text) for page in parse_pdf(target.getvalue())] == [(2, "words")]
