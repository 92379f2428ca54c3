"""PDF to pages, through PDFium: the text layer only, with true page numbers."""

import re
import unicodedata

import pypdfium2
import pypdfium2.raw

from rag.errors import UnreadableDocument
from rag.parse.pdf_tables import split_tables
from rag.parse.tables import table_text
from rag.types import Page

# PDFium joins a word broken across lines and leaves one of these for the hyphen.
_BROKEN_WORD = re.compile(r"[\x02\ufffe\u00ad](?:\r?\n)?")
_SENTENCE_END = re.compile(r"[.!?:;。？！…)\]”\"]\s*$")
_STARTS_BLOCK = re.compile(
    r"\s*(?:[-•·▪◦○●■□◇*※▶➢–]|\(?\d{1,3}[.)]|\(?[가-하a-z][.)](?=\s)|[①-⑳]|제\s?\d+\s?[장절조관편]|#|\|)"
)
_FULL_LINE = 0.75  # of the widest line: a shorter one was ended on purpose


def parse_pdf(data: bytes) -> list[Page]:
    """Return the pages that have text, numbered from 1.

    Raises:
        UnreadableDocument: It is broken, needs a password, or is a scan without text.
    """
    document = _open(data)
    try:
        pages = [Page(index + 1, _page_text(document, index)) for index in range(len(document))]
    finally:
        document.close()
    pages = [page for page in pages if page.text.strip()]
    if not pages:
        raise UnreadableDocument(
            "the PDF has no text layer: it is a scan; run text recognition (OCR) over it first",
            code="unsupported_file",
        )
    return pages


def _open(data: bytes) -> pypdfium2.PdfDocument:
    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        if error.err_code == pypdfium2.raw.FPDF_ERR_PASSWORD:
            raise UnreadableDocument("the PDF is protected by a password") from error
        raise UnreadableDocument("the PDF is damaged and can't be opened") from error
    if len(document) == 0:
        raise UnreadableDocument("the PDF is damaged: it has no pages")
    return document


def _page_text(document: pypdfium2.PdfDocument, index: int) -> str:
    """Return a page's text; a page that can't be read has none, others may still be good."""
    try:
        page = document[index]
        text = page.get_textpage()
        parts = split_tables(page, text) or [text.get_text_bounded()]
    except pypdfium2.PdfiumError:
        return ""
    lines = [line for part in parts if isinstance(part, str) for line in part.splitlines()]
    widest = max(map(_width, lines), default=0)
    return "\n\n".join(
        table_text([[unwrap(cell) for cell in row] for row in part])
        if isinstance(part, list)
        else unwrap(part, widest)
        for part in parts
    )


def unwrap(text: str, widest: int = 0) -> str:
    """Join words and lines that were broken only because the paper ended.

    `widest` is the widest line beside this text, in half-width columns (UAX #11).
    """
    lines = [line.rstrip() for line in _BROKEN_WORD.sub("", text).splitlines()]
    widest = max(widest, *map(_width, lines), 0)
    joined: list[str] = []
    goes_on = False
    for line in lines:
        if goes_on and line and not _STARTS_BLOCK.match(line):
            joined[-1] += " " + line.lstrip()
        else:
            joined.append(line)
        goes_on = _width(line) >= _FULL_LINE * widest and not _SENTENCE_END.search(line)
    return "\n".join(joined)


def _width(line: str) -> int:
    """Return a line's width in half-width columns (UAX #11)."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)
