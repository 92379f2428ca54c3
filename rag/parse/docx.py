"""DOCX to text, through python-docx: paragraphs, headings, lists, tables, text boxes, notes.

Behind them, once, what stands above and below every page: a document's number, its date.
"""

import re
from collections.abc import Iterator, Sequence

from docx import Document
from docx.document import Document as DocumentObject
from docx.oxml import parse_xml
from lxml import etree

from rag.parse.archive import Archive
from rag.parse.tables import fill_down, table_text
from rag.types import Page

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_VAL = f"{_W}val"
_STYLE = f"{_W}style"
# The old form of what stands before it, and the old place of what was moved with changes tracked.
_NOT_READ = (
    "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback",
    f"{_W}moveFrom",
)
_NOTES = ("/footnotes", "/endnotes")
_RUNNING = ("/header", "/footer")
_HEADING = re.compile(r"(?:heading|제목) ?([1-9])", re.IGNORECASE)
_OUTLINE_LEVELS = set("012345678")
_MOST_ANCESTORS = 10
_MOST_COLUMNS = 63  # that Word has in a table
_BREAKS = {"br": "\n", "cr": "\n", "p": "\n", "tab": " ", "noBreakHyphen": "-"}


def parse_docx(archive: Archive) -> list[Page]:
    """Return the document as one page: where Word breaks pages, the file does not say."""
    document = Document(archive.to_zip())
    marks = _style_marks(document)
    bodies = [document.element.body, *_parts(document, _NOTES)]
    running = [*_parts(document, _RUNNING)]
    for unread in [found for body in (*bodies, *running) for found in body.iter(*_NOT_READ)]:
        unread.getparent().remove(unread)
    blocks = (block for body in bodies for block in _blocks(body, marks))
    return [Page(None, "".join([*blocks, *_once(running, marks)]))]


def _parts(document: DocumentObject, kinds: tuple[str, ...]) -> Iterator[etree._Element]:
    for relation in document.part.rels.values():
        if not relation.is_external and relation.reltype.endswith(kinds):
            yield parse_xml(relation.target_part.blob)


def _once(parts: Sequence[etree._Element], marks: dict[str, str]) -> list[str]:
    """Return the texts that differ and say more than a page's number."""
    texts = ("".join(_blocks(part, marks)).strip() for part in parts)
    said = dict.fromkeys(text for text in texts if any(map(str.isalpha, text)))
    return [f"\n\n{text}" for text in said]


def _blocks(root: etree._Element, marks: dict[str, str]) -> Iterator[str]:
    """Yield paragraphs and tables, also those inside content controls and tracked insertions."""
    for element in root:
        if element.tag == f"{_W}p":
            yield _paragraph(element, marks)
        elif element.tag == f"{_W}tbl":
            yield f"\n\n{table_text(fill_down(_rows(element)))}\n\n"
        elif isinstance(element.tag, str):
            yield from _blocks(element, marks)


def _rows(table: etree._Element) -> Iterator[list[str | None]]:
    for row in table.iter(f"{_W}tr"):
        if next(row.iterancestors(f"{_W}tbl")) is table:
            cells = (cell for cell in row.iter(f"{_W}tc") if _row_of(cell) is row)
            skipped = [""] * _number(row, "trPr", "gridBefore")
            yield [*skipped, *(text for cell in cells for text in _cell(cell))]


def _cell(cell: etree._Element) -> list[str | None]:
    """Return a cell's text, None where it goes on from above, and the columns it reaches over."""
    merge = cell.find(f"{_W}tcPr/{_W}vMerge")
    goes_on = merge is not None and merge.get(_VAL, "continue") == "continue"
    return [None if goes_on else _text(cell), *[""] * (_number(cell, "tcPr", "gridSpan") - 1)]


def _number(element: etree._Element, properties: str, name: str) -> int:
    found = element.find(f"{_W}{properties}/{_W}{name}")
    value = "" if found is None else found.get(_VAL, "")
    return min(int(value), _MOST_COLUMNS) if value.isdecimal() else 0


def _row_of(cell: etree._Element) -> etree._Element:
    return next(cell.iterancestors(f"{_W}tr"))


def _paragraph(paragraph: etree._Element, marks: dict[str, str]) -> str:
    text = _text(paragraph).strip()
    properties = paragraph.find(f"{_W}pPr")
    if not text or properties is None:
        return f"\n\n{text}" if text else ""
    style = properties.find(f"{_W}pStyle")
    mark = _own_mark(properties) or (marks.get(style.get(_VAL), "") if style is not None else "")
    if mark.startswith("#"):
        return f"\n\n{mark}{' '.join(text.split())}\n\n"
    return f"\n{mark}{text}" if mark else f"\n\n{text}"


def _text(element: etree._Element) -> str:
    parts: list[str] = []
    for node in element.iter():
        name = node.tag.rpartition("}")[2] if isinstance(node.tag, str) else ""
        if name == "t":
            parts.append(node.text or "")
        elif name in _BREAKS and node is not element:
            parts.append(_BREAKS[name])
    return "".join(parts)


def _style_marks(document: DocumentObject) -> dict[str, str]:
    """Return Markdown's mark of each paragraph style that makes headings or items of a list."""
    styles = {style.get(f"{_W}styleId"): style for style in document.styles.element.iter(_STYLE)}
    marks = {}
    for identifier in styles:
        name = identifier
        for _ in range(_MOST_ANCESTORS):
            if (style := styles.get(name)) is None:
                break
            if mark := _style_mark(style):
                marks[identifier] = mark
                break
            parent = style.find(f"{_W}basedOn")
            name = parent.get(_VAL) if parent is not None else None
    return marks


def _style_mark(style: etree._Element) -> str:
    name = style.find(f"{_W}name")
    label = name.get(_VAL, "") if name is not None else ""
    if match := _HEADING.fullmatch(label):
        return _heading_mark(int(match[1]))
    if label.lower() == "title":
        return _heading_mark(1)
    properties = style.find(f"{_W}pPr")
    return _own_mark(properties) if properties is not None else ""


def _own_mark(properties: etree._Element) -> str:
    """Return the mark for a level of outline, 0 to 8 (ECMA-376-1, 17.3.1.20), or of a list."""
    outline = properties.find(f"{_W}outlineLvl")
    if outline is not None and outline.get(_VAL) in _OUTLINE_LEVELS:
        return _heading_mark(int(outline.get(_VAL)) + 1)
    return "- " if properties.find(f"{_W}numPr") is not None else ""


def _heading_mark(level: int) -> str:
    return "#" * min(level, 6) + " "
