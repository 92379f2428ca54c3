"""PPTX to text, through python-pptx: a page per slide, with its tables, diagrams and notes."""

from collections.abc import Iterable, Iterator

from lxml import etree
from pptx import Presentation
from pptx.oxml import parse_xml
from pptx.shapes.base import BaseShape
from pptx.shapes.graphfrm import GraphicFrame
from pptx.shapes.group import GroupShape
from pptx.slide import Slide
from pptx.table import _Cell, _Row

from rag.parse.archive import Archive
from rag.parse.tables import fill_down, table_text
from rag.types import Page

_A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"


def parse_pptx(archive: Archive) -> list[Page]:
    """Return the slides, numbered as PowerPoint does, the hidden ones too."""
    slides = Presentation(archive.to_zip()).slides
    return [Page(number, "\n\n".join(_blocks(slide))) for number, slide in enumerate(slides, 1)]


def _blocks(slide: Slide) -> Iterator[str]:
    title = slide.shapes.title
    if title is not None and title.text_frame.text.strip():
        yield f"# {' '.join(title.text_frame.text.split())}"
    for shape in _leaves(slide.shapes):
        if title is None or shape.shape_id != title.shape_id:
            yield _shape_text(shape)
    yield from _diagrams(slide)
    if slide.has_notes_slide and (notes := slide.notes_slide.notes_text_frame) is not None:
        yield _paragraphs(notes._txBody)  # noqa: SLF001 - its own text drops fields


def _leaves(shapes: Iterable[BaseShape]) -> Iterator[BaseShape]:
    for shape in shapes:
        if isinstance(shape, GroupShape):
            yield from _leaves(shape.shapes)
        else:
            yield shape


def _shape_text(shape: BaseShape) -> str:
    if isinstance(shape, GraphicFrame) and shape.has_table:
        return table_text(fill_down(map(_cells, shape.table.rows)))
    return _paragraphs(shape.element) if shape.has_text_frame else ""


def _cells(row: _Row) -> list[str | None]:
    """Return a row's texts, None where one goes on from above."""
    return [None if _goes_on(cell) else cell.text for cell in row.cells]


def _goes_on(cell: _Cell) -> bool:
    tag = cell._tc  # noqa: SLF001 - no other way to tell down from across
    return bool(tag.vMerge and not tag.hMerge)


def _diagrams(slide: Slide) -> Iterator[str]:
    """Yield the text of SmartArt, which lies in parts of its own."""
    for relation in slide.part.rels.values():
        if not relation.is_external and relation.reltype.endswith("/diagramData"):
            yield _paragraphs(parse_xml(relation.target_part.blob))


def _paragraphs(root: etree._Element) -> str:
    return "\n".join(filter(str.strip, map(_text, root.iter(f"{_A}p"))))


def _text(paragraph: etree._Element) -> str:
    runs = paragraph.iter(f"{_A}t", f"{_A}br")
    return "".join("\n" if run.tag == f"{_A}br" else run.text or "" for run in runs)
