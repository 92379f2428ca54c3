"""Documents to pages of text. Untrusted bytes are parsed in a child process, `rag.parse.apart`."""

from pathlib import PurePath

from rag.errors import UnreadableDocument
from rag.parse.html import parse_html
from rag.parse.pdf import parse_pdf
from rag.parse.text import decode_text, tidy
from rag.types import Page

__all__ = ["SUPPORTED", "parse"]

SUPPORTED = "PDF, Markdown, HTML and plain text (JSON and CSV are read as text)"

_HTML_SUFFIXES = {".html", ".htm", ".xhtml"}
_PDF_HEADER_WITHIN = 1024  # ISO 32000-1, annex H.3.4.1


def parse(filename: str, data: bytes) -> list[Page]:
    """Return a document's pages that have text; what it is, its bytes say before its name.

    Raises:
        UnreadableDocument: It is empty, broken, protected, a scan, or of no supported type.
    """
    if not data.strip():
        raise UnreadableDocument("the file is empty")
    pages = _parse_by_type(PurePath(filename).suffix.lower(), data)
    pages = [Page(page.number, text) for page in pages if (text := tidy(page.text)).strip()]
    if not pages:
        raise UnreadableDocument("the file holds no text")
    return pages


def _parse_by_type(suffix: str, data: bytes) -> list[Page]:
    if b"%PDF-" in data[:_PDF_HEADER_WITHIN]:
        return parse_pdf(data)
    if suffix == ".pdf":
        raise UnreadableDocument("the file is named .pdf but is no PDF, or its beginning is lost")
    text = decode_text(data)
    if text is None:
        reason = f"this type of file is not supported; supported are {SUPPORTED}"
        raise UnreadableDocument(reason, code="unsupported_file")
    if suffix in _HTML_SUFFIXES or text.lstrip()[:15].lower().startswith(
        ("<!doctype html", "<html")
    ):
        text = parse_html(text)
    return [Page(None, text)]
