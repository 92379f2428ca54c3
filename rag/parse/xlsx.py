"""XLSX to text, through openpyxl row by row: a page per sheet."""

import warnings
from collections.abc import Iterator
from datetime import date, datetime, time
from typing import TypeAlias

from openpyxl import load_workbook
from openpyxl.worksheet._read_only import ReadOnlyWorksheet

from rag.errors import UnreadableDocument
from rag.parse.archive import Archive
from rag.parse.tables import sheet_text
from rag.types import Page

_MOST_CHARS = 64 << 20  # cells share their strings: a small file may say a long one often

_Value: TypeAlias = str | float | bool | date | time | None


def parse_xlsx(archive: Archive) -> list[Page]:
    """Return the sheets that have cells, numbered as their tabs, the hidden ones too.

    A formula reads as its last result.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what it leaves out: styles, validation, extensions
        workbook = load_workbook(archive.to_zip(), read_only=True, data_only=True, keep_links=False)
        pages = []
        for number, sheet in enumerate(workbook.worksheets, 1):
            sheet.reset_dimensions()  # they are only declared: a million rows need not be there
            if text := sheet_text(_rows(sheet)):
                pages.append(Page(number, f"# {sheet.title}\n\n{text}"))
    return pages


def _rows(sheet: ReadOnlyWorksheet) -> Iterator[list[str]]:
    size = 0
    for row in sheet.iter_rows():
        size += sum(len(cell.value) for cell in row if isinstance(cell.value, str))
        if size > _MOST_CHARS:
            raise UnreadableDocument("a sheet holds more text than can be read; split the file")
        yield ["" if cell.value is None else _shown(cell.value, cell.number_format) for cell in row]


def _shown(value: _Value, number_format: str) -> str:
    """Return a value about as Excel shows it: 15 digits, percents, dates without midnight."""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, int | float):
        percent = "%" in number_format
        return f"{value * 100:.15g}%" if percent else f"{value:.15g}"
    if isinstance(value, datetime) and value.time() == time():
        return value.date().isoformat()
    return " ".join(str(value).split())
