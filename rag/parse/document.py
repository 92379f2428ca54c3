"""A document of any format to pages of text.

Loads every format's library: only the process that parses imports this, `rag.parse.__main__`.
"""

from pathlib import PurePath

from rag.errors import UnreadableDocument
from rag.parse import (
    HTML_SUFFIXES,
    JSON_SUFFIXES,
    MARKDOWN_SUFFIXES,
    SUPPORTED,
    TABLE_SUFFIXES,
    TEXT_SUFFIXES,
)
from rag.parse.delimited import parse_delimited
from rag.parse.html import parse_html
from rag.parse.json import parse_json
from rag.parse.markdown import parse_markdown
from rag.parse.office import parse_office, refuse_old
from rag.parse.pdf import parse_pdf
from rag.parse.text import decode_text, tidy
from rag.types import Page

_PDF_HEADER_WITHIN = 1024  # ISO 32000-1, annex H.3.4.1
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_RTF = b"{\\rtf"


def parse(filename: str, data: bytes) -> list[Page]:
    """Return a document's pages that have text; what it is, its bytes say before its name.

    Raises:
        UnreadableDocument: It is empty, broken, protected, a scan, or of no supported type.
    """
    if not data.strip():
        raise UnreadableDocument("the file is empty")
    try:
        pages = _parse_by_type(PurePath(filename).suffix.lower(), data)
    except (UnreadableDocument, MemoryError):
        raise
    except RecursionError as error:
        raise UnreadableDocument("the file is nested too deeply to be read") from error
    except Exception as error:  # a library meets damaged bytes with whatever breaks first
        raise UnreadableDocument("the file is damaged and can't be read") from error
    pages = [Page(page.number, text) for page in pages if (text := tidy(page.text)).strip()]
    if not pages:
        raise UnreadableDocument("the file holds no text")
    return pages


def _parse_by_type(suffix: str, data: bytes) -> list[Page]:
    if b"%PDF-" in data[:_PDF_HEADER_WITHIN]:
        return parse_pdf(data)
    if data.startswith(_ZIP):
        return parse_office(data)
    refuse_old(data)
    if suffix == ".pdf":
        raise UnreadableDocument("the file is named .pdf but is no PDF, or its beginning is lost")
    text = decode_text(data)
    if text is None or data.startswith(_RTF):
        reason = f"this type of file is not supported; supported are {SUPPORTED}"
        if text is None and suffix in TEXT_SUFFIXES:
            reason = "this file's text is in no encoding we know: save it as UTF-8"
        raise UnreadableDocument(reason, code="unsupported_file")
    return [Page(None, _readable(suffix, text))]


def _readable(suffix: str, text: str) -> str:
    if suffix in HTML_SUFFIXES or text.lstrip()[:15].lower().startswith(
        ("<!doctype html", "<html")
    ):
        return parse_html(text)
    if suffix in TABLE_SUFFIXES:
        return parse_delimited(text)
    if suffix in JSON_SUFFIXES:
        return parse_json(text)
    if suffix in MARKDOWN_SUFFIXES:
        return parse_markdown(text)
    return text
