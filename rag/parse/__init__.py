"""Documents to pages of text. Untrusted bytes are parsed in processes apart, `rag.parse.apart`."""

__all__ = [
    "HTML_SUFFIXES",
    "JSON_SUFFIXES",
    "MARKDOWN_SUFFIXES",
    "SUFFIXES",
    "SUPPORTED",
    "TABLE_SUFFIXES",
    "TEXT_SUFFIXES",
]

SUPPORTED = "PDF, DOCX, PPTX, XLSX, HWPX, HTML, Markdown, CSV, TSV, JSON, JSONL and plain text"

HTML_SUFFIXES = {".html", ".htm", ".xhtml"}
TABLE_SUFFIXES = {".csv", ".tsv"}
JSON_SUFFIXES = {".json", ".jsonl", ".ndjson"}
MARKDOWN_SUFFIXES = {".md", ".markdown"}
TEXT_SUFFIXES = {".txt", *MARKDOWN_SUFFIXES, *HTML_SUFFIXES, *TABLE_SUFFIXES, *JSON_SUFFIXES}
SUFFIXES = frozenset(
    {".pdf", ".docx", ".docm", ".pptx", ".pptm", ".ppsx", ".xlsx", ".xlsm", ".hwpx", *TEXT_SUFFIXES}
)
"""Ends of the names that such files have; what a file is, its content says."""
