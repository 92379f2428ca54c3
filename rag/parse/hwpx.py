"""HWPX (Hangul's word processor, KS X 6101) to text: paragraphs, headings, tables, notes.

Read by hand: python-hwpx (Apache-2.0) is an editor of 91,000 lines, and text needs these few.
Names are compared without their namespace, which differs by year (2011, 2016, 2021).
"""

import re
from collections.abc import Iterator

from lxml import etree

from rag.parse.archive import Archive
from rag.parse.tables import Spans, table_text
from rag.types import Page

_SECTION = re.compile(r"Contents/section(\d+)\.xml")
_HEADER = "Contents/header.xml"
_BREAKS = {"lineBreak": "\n", "p": "\n", "tab": " ", "nbSpace": " ", "fwSpace": " ", "hyphen": "-"}
# Hidden notes, the running heads of every page, and numbers that the reader's program counts.
_NOT_READ = {"hiddenComment", "header", "footer", "autoNum", "newNum", "pageNum"}


def parse_hwpx(archive: Archive) -> list[Page]:
    """Return the document as one page: where Hangul breaks pages, the file does not say."""
    levels = _heading_levels(archive)
    numbers = sorted(int(match[1]) for name in archive.parts if (match := _SECTION.fullmatch(name)))
    sections = (_parse(archive.parts[f"Contents/section{number}.xml"]) for number in numbers)
    return [Page(None, "".join(block for root in sections for block in _blocks(root, levels)))]


def _parse(content: bytes) -> etree._Element:
    return etree.fromstring(content, etree.XMLParser(resolve_entities=False, no_network=True))


def _blocks(root: etree._Element, levels: dict[str, int]) -> Iterator[str]:
    for paragraph in _children(root, "p"):
        text = _text(paragraph).strip()
        if level := levels.get(paragraph.get("paraPrIDRef", ""), 0):
            yield f"\n\n{'#' * level} {' '.join(text.split())}\n\n" if text else ""
        else:
            yield f"\n\n{text}\n\n"


def _text(element: etree._Element) -> str:
    """Return what stands in an element; a table's rows begin on a line of their own."""
    parts = [element.text or ""] if _name(element) == "t" else []
    for child in element:
        name = _name(child)
        if name == "tbl":
            parts.append(f"\n\n{table_text(_rows(child))}\n\n")
        elif name not in _NOT_READ:
            parts += [_BREAKS.get(name, ""), _text(child)]
        if _name(element) == "t":
            parts.append(child.tail or "")
    return "".join(parts)


def _rows(table: etree._Element) -> Iterator[list[str]]:
    spans = Spans()
    for row in _children(table, "tr"):
        spans.start_row()
        cells: list[str] = []
        for cell in _children(row, "tc"):
            text = _text(cell)
            reach = next(_children(cell, "cellSpan"), cell)
            columns, rows = (int(reach.get(name) or 1) for name in ("colSpan", "rowSpan"))
            cells += [*spans.before(), text, *spans.add(text, columns, rows)]
        yield [*cells, *spans.before()] if cells else []


def _heading_levels(archive: Archive) -> dict[str, int]:
    """Return how deep a heading each kind of paragraph makes: those of an outline do."""
    levels: dict[str, int] = {}
    if _HEADER not in archive.parts:
        return levels
    for kind in _parse(archive.parts[_HEADER]).iter("{*}paraPr"):
        for heading in kind.iter("{*}heading"):
            if heading.get("type") == "OUTLINE":
                levels[kind.get("id", "")] = min(int(heading.get("level", "0")) + 1, 6)
    return levels


def _children(element: etree._Element, name: str) -> Iterator[etree._Element]:
    return (child for child in element if _name(child) == name)


def _name(element: etree._Element) -> str:
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""
