"""Word documents: headings, lists and tables in reading order, nothing a reader sees left out."""

import io

from documents import docx_of, docx_of_a_picture, entry_of, with_entries
from docx import Document

from rag.parse.document import parse

_BODY = "word/document.xml"


def read(data: bytes) -> str:
    (page,) = parse("a.docx", data)
    assert page.number is None
    return page.text


def with_body(find: str, replace: str) -> str:
    data = docx_of("before", find, "behind")
    body = entry_of(data, _BODY)
    assert find in body
    return read(with_entries(data, {_BODY: body.replace(f"<w:t>{find}</w:t>", replace)}))


def test_headings_lists_and_tables_come_in_order() -> None:
    data = docx_of(
        "# 휴가 규정",
        "연차는 15일이다.",
        "- 하나",
        "- 둘",
        "## 병가",
        table=[["종류", "일수"], ["병가", "60"]],
    )
    assert read(data) == (
        "# 휴가 규정\n\n연차는 15일이다.\n- 하나\n- 둘\n\n## 병가\n\n종류 | 일수\n병가 | 60"
    )


def test_a_style_based_on_a_heading_makes_headings() -> None:
    data = docx_of("# Leave", "text")
    styles = entry_of(data, "word/styles.xml").replace(
        "</w:styles>",
        '<w:style w:type="paragraph" w:styleId="Own"><w:name w:val="own"/>'
        '<w:basedOn w:val="Heading2"/></w:style></w:styles>',
    )
    body = entry_of(data, _BODY).replace('"Heading1"', '"Own"')
    changed = with_entries(data, {"word/styles.xml": styles, _BODY: body})
    assert read(changed) == "## Leave\n\ntext"


def test_tracked_insertions_and_links_are_read_and_deletions_are_not() -> None:
    text = with_body(
        "x",
        "<w:t>a</w:t></w:r><w:ins><w:r><w:t>b</w:t></w:r></w:ins><w:hyperlink><w:r><w:t>c</w:t>"
        "</w:r></w:hyperlink><w:del><w:r><w:delText>gone</w:delText></w:r></w:del><w:moveFrom>"
        "<w:r><w:t>gone</w:t></w:r></w:moveFrom><w:r><w:tab/><w:t>d</w:t><w:br/><w:t>e</w:t>",
    )
    assert text == "before\n\nabc d\ne\n\nbehind"


def test_a_text_box_is_read_once() -> None:
    box = "<w:txbxContent><w:p><w:r><w:t>boxed</w:t></w:r></w:p></w:txbxContent>"
    compatibility = "http://schemas.openxmlformats.org/markup-compatibility/2006"
    text = with_body(
        "x",
        f'<mc:AlternateContent xmlns:mc="{compatibility}"><mc:Choice>{box}</mc:Choice>'
        f"<mc:Fallback>{box}</mc:Fallback></mc:AlternateContent>",
    )
    assert text == "before\n\nboxed\n\nbehind"


def test_a_content_control_and_a_table_inside_a_cell_are_read() -> None:
    data = docx_of("first", table=[["a", "b"]])
    body = entry_of(data, _BODY)
    inner = "<w:tbl><w:tr><w:tc><w:p><w:r><w:t>in</w:t></w:r></w:p></w:tc></w:tr></w:tbl>"
    start, end = body.index("<w:tbl>"), body.index("</w:tbl>") + len("</w:tbl>")
    table = body[start:end].replace("<w:t>b</w:t></w:r></w:p>", f"<w:t>b</w:t></w:r></w:p>{inner}")
    wrapped = f"<w:sdt><w:sdtContent>{table}</w:sdtContent></w:sdt>"
    changed = with_entries(data, {_BODY: body[:start] + wrapped + body[end:]})
    assert read(changed) == "first\n\na | b in"


def test_footnotes_stand_at_the_end() -> None:
    data = docx_of("text")
    namespace = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    relation = (
        '<Relationship Id="rIdF" Target="footnotes.xml" Type="http://schemas.openxmlformats.org'
        '/officeDocument/2006/relationships/footnotes"/></Relationships>'
    )
    relations = "word/_rels/document.xml.rels"
    notes = (
        f"<w:footnotes {namespace}><w:footnote><w:p><w:r><w:t>note</w:t></w:r></w:p>"
        "</w:footnote></w:footnotes>"
    )
    changed = with_entries(
        data,
        {
            "word/footnotes.xml": notes,
            relations: entry_of(data, relations).replace("</Relationships>", relation),
        },
    )
    assert read(changed) == "text\n\nnote"


def test_what_stands_on_every_page_is_read_once_behind_the_text() -> None:
    document = Document()
    document.add_paragraph("text")
    for section in (document.sections[0], document.add_section()):
        section.header.is_linked_to_previous = False
        section.header.paragraphs[0].text = "문서번호 HR-07"
        section.footer.is_linked_to_previous = False
        section.footer.paragraphs[0].text = "- 1 -"
    target = io.BytesIO()
    document.save(target)
    assert read(target.getvalue()) == "text\n\n문서번호 HR-07"


def test_a_document_with_macros_or_a_template_reads_the_same() -> None:
    data = docx_of("text")
    for other in (
        "application/vnd.ms-word.document.macroEnabled.main+xml",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.template.main+xml",
    ):
        types = entry_of(data, "[Content_Types].xml").replace(
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml",
            other,
        )
        assert read(with_entries(data, {"[Content_Types].xml": types})) == "text"


def test_pictures_beside_text_do_no_harm() -> None:
    data = docx_of_a_picture()
    body = entry_of(data, _BODY).replace(
        "<w:sectPr", "<w:p><w:r><w:t>text</w:t></w:r></w:p><w:sectPr", 1
    )
    assert read(with_entries(data, {_BODY: body})) == "text"


def test_a_cell_merged_over_rows_says_its_text_in_each() -> None:
    document = Document()
    table = document.add_table(4, 3)
    for row, texts in enumerate(
        (("지역", "한도", ""), ("북미", "임원", "410"), ("", "사원", "215"))
    ):
        for column, text in enumerate(texts):
            table.cell(row, column).text = text
    table.cell(0, 1).merge(table.cell(0, 2))
    table.cell(1, 0).merge(table.cell(2, 0)).text = "북미"
    table.cell(3, 2).text = "90"
    target = io.BytesIO()
    document.save(target)
    text = "지역 | 한도\n북미 | 임원 | 410\n북미 | 사원 | 215\n90"
    assert read(target.getvalue()) == text
    skipping = entry_of(target.getvalue(), _BODY).replace(
        "<w:tr>", '<w:tr><w:trPr><w:gridBefore w:val="1"/></w:trPr>', 1
    )
    changed = with_entries(target.getvalue(), {_BODY: skipping})
    assert read(changed) == f"| {text}"
