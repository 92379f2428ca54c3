"""Presentations: a page per slide."""

import io

from documents import pptx_of
from pptx import Presentation
from pptx.util import Inches

from rag.parse.document import parse


def test_slides_are_numbered_and_their_notes_are_read() -> None:
    data = pptx_of(
        ("휴가", "연차 15일\n병가 60일"), ("", ""), ("끝", "질문"), notes="천천히 말한다"
    )
    assert [(page.number, page.text) for page in parse("a.pptx", data)] == [
        (1, "# 휴가\n\n연차 15일\n병가 60일\n\n천천히 말한다"),
        (3, "# 끝\n\n질문"),
    ]


def test_tables_and_groups_are_read() -> None:
    presentation = Presentation()
    slide = presentation.slides.add_slide(presentation.slide_layouts[6])
    table = slide.shapes.add_table(2, 2, Inches(1), Inches(1), Inches(4), Inches(1)).table
    for row, texts in enumerate((("종류", "일수"), ("병가", "60"))):
        for column, text in enumerate(texts):
            table.cell(row, column).text = text
    group = slide.shapes.add_group_shape().shapes.add_group_shape()
    box = group.shapes.add_textbox(Inches(1), Inches(3), Inches(1), Inches(1))
    box.text_frame.text = "grouped\vtwice"
    target = io.BytesIO()
    presentation.save(target)
    (page,) = parse("a.pptx", target.getvalue())
    assert page.text == "종류 | 일수\n병가 | 60\n\ngrouped\ntwice"


def test_a_cell_merged_over_rows_says_its_text_in_each() -> None:
    presentation = Presentation()
    slide = presentation.slides.add_slide(presentation.slide_layouts[6])
    table = slide.shapes.add_table(3, 3, Inches(1), Inches(1), Inches(4), Inches(1)).table
    for row, texts in enumerate((("북미", "", "임원"), ("", "", "사원"), ("유럽", "영국", "임원"))):
        for column, text in enumerate(texts):
            table.cell(row, column).text = text
    table.cell(0, 0).merge(table.cell(1, 1))
    target = io.BytesIO()
    presentation.save(target)
    (page,) = parse("a.pptx", target.getvalue())
    assert page.text == "북미 |  | 임원\n북미 |  | 사원\n유럽 | 영국 | 임원"
