"""Documents of every format, made in memory by the libraries of their formats or by hand."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

from docx import Document
from openpyxl import Workbook
from PIL import Image
from pptx import Presentation
from pptx.util import Inches

_HWPML = "http://www.hancom.co.kr/hwpml/2011"
_HWPX_HEADER = f"""<hh:head xmlns:hh="{_HWPML}/head"><hh:refList><hh:paraProperties>
<hh:paraPr id="0"><hh:heading type="NONE" idRef="0" level="0"/></hh:paraPr>
<hh:paraPr id="1"><hh:heading type="OUTLINE" idRef="0" level="0"/></hh:paraPr>
<hh:paraPr id="2"><hh:heading type="OUTLINE" idRef="0" level="1"/></hh:paraPr>
</hh:paraProperties></hh:refList></hh:head>"""


def docx_of(*paragraphs: str, table: Sequence[Sequence[str]] = ()) -> bytes:
    """A Word document; `# ` begins a heading, `- ` an item of a list."""
    document = Document()
    for text in paragraphs:
        marks = text.partition(" ")[0]
        if set(marks) == {"#"}:
            document.add_heading(text.lstrip("# "), len(marks))
        elif marks == "-":
            document.add_paragraph(text[2:], style="List Bullet")
        else:
            document.add_paragraph(text)
    if table:
        grid = document.add_table(len(table), len(table[0]))
        for row, texts in zip(grid.rows, table, strict=True):
            for cell, text in zip(row.cells, texts, strict=True):
                cell.text = text
    return _saved(document)


def pptx_of(*slides: tuple[str, str], notes: str = "") -> bytes:
    """A slide per pair of title and body; notes under the first."""
    presentation = Presentation()
    for title, body in slides:
        slide = presentation.slides.add_slide(presentation.slide_layouts[1])
        slide.shapes.title.text = title
        slide.placeholders[1].text = body
    if notes:
        presentation.slides[0].notes_slide.notes_text_frame.text = notes
    return _saved(presentation)


def xlsx_of(**sheets: Sequence[Sequence[object]]) -> bytes:
    """A workbook of these sheets' rows."""
    workbook = Workbook()
    workbook.remove(workbook.active)
    for title, rows in sheets.items():
        sheet = workbook.create_sheet(title)
        for row in rows:
            sheet.append(row)
    return _saved(workbook)


def hwpx_of(body: str) -> bytes:
    """A Hangul document of this XML inside its only section."""
    section = f'<hs:sec xmlns:hs="{_HWPML}/section" xmlns:hp="{_HWPML}/paragraph">{body}</hs:sec>'
    return zip_of(
        {
            "mimetype": "application/hwp+zip",
            "Contents/header.xml": _HWPX_HEADER,
            "Contents/section0.xml": section,
        }
    )


def hwpx_paragraph(text: str, *, kind: int = 0) -> str:
    """A paragraph; kinds 1 and 2 are headings of that level."""
    return f'<hp:p paraPrIDRef="{kind}"><hp:run><hp:t>{text}</hp:t></hp:run></hp:p>'


def zip_of(entries: Mapping[str, str | bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return target.getvalue()


def with_entries(data: bytes, entries: Mapping[str, str | bytes]) -> bytes:
    """An archive with these entries in place of its own of the same names."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        own = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    return zip_of({**own, **entries})


def entry_of(data: bytes, name: str) -> str:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.read(name).decode()


def picture() -> io.BytesIO:
    target = io.BytesIO()
    Image.new("RGB", (8, 8)).save(target, "PNG")
    target.seek(0)
    return target


def docx_of_a_picture() -> bytes:
    document = Document()
    document.add_picture(picture())
    return _saved(document)


def pptx_of_a_picture() -> bytes:
    presentation = Presentation()
    slide = presentation.slides.add_slide(presentation.slide_layouts[6])
    slide.shapes.add_picture(picture(), Inches(1), Inches(1))
    return _saved(presentation)


def _saved(document: Any) -> bytes:
    target = io.BytesIO()
    document.save(target)
    return target.getvalue()
