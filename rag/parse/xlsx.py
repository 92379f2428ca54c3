"""XLSX to text, through openpyxl row by row: a page per sheet."""

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, time
from typing import TypeAlias

from openpyxl import load_workbook
from openpyxl.cell.read_only import EmptyCell, ReadOnlyCell
from openpyxl.utils import range_boundaries
from openpyxl.worksheet._read_only import ReadOnlyWorksheet

from rag.errors import UnreadableDocument
from rag.parse.archive import Archive
from rag.parse.tables import LABEL_CHARS, fill_down, sheet_text
from rag.types import Page

_MOST_CHARS = 64 << 20  # cells share their strings: a small file may say a long one often
_MERGE = re.compile(
    rb"<(?:\w+:)?mergeCell [^<>]*?ref=[\"']([A-Z]{1,3}\d{1,7}:[A-Z]{1,3}\d{1,7})[\"']"
)

_Merges: TypeAlias = Mapping[int, Sequence[tuple[int, int]]]
_CURRENCY = r"(?:\[\$[₩$€£¥](?:-\w+)?\]|\"[₩$€£¥원]\"|\\?[₩$€£¥원])"
_MONEY = re.compile(r"[₩€£¥원]|\$(?![₩$€£¥])")
_FORMAT = re.compile(
    rf"(?P<before>{_CURRENCY})?\s*(?:(?P<thousands>#,##0)|(?P<zeros>0+))"
    rf"(?:\.(?P<decimals>0+))?\s*(?P<after>{_CURRENCY})?"
)
_UNSEEN = re.compile(r"_.|\*.|\[\$-\w+\]")  # room, filling, a language

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
            merges = _merges(archive.parts[sheet._worksheet_path])  # noqa: SLF001 - not read by it
            if text := sheet_text(fill_down(_rows(sheet, merges))):
                pages.append(Page(number, f"# {sheet.title}\n\n{text}"))
    return pages


def _rows(sheet: ReadOnlyWorksheet, merges: _Merges) -> Iterator[list[str | None]]:
    size = 0
    reaching: dict[int, int] = {}  # column -> last row of what began above
    for number, row in enumerate(sheet.iter_rows(), 1):
        texts: list[str | None] = [_text(cell) for cell in row]
        if any(texts):
            reaching = {column: last for column, last in reaching.items() if last >= number}
            texts += [""] * (max(reaching, default=0) - len(texts))
            for column in reaching:
                texts[column - 1] = None
        reaching.update(merges.get(number, ()))
        size += sum(LABEL_CHARS if text is None else len(text) for text in texts)
        if size > _MOST_CHARS:
            raise UnreadableDocument("a sheet holds more text than can be read; split the file")
        yield texts


def _text(cell: ReadOnlyCell | EmptyCell) -> str:
    return "" if cell.value is None else _shown(cell.value, cell.number_format)


def _merges(part: bytes) -> _Merges:
    """Return the columns of merged cells with their last rows, by their first rows."""
    merges: dict[int, list[tuple[int, int]]] = {}
    for found in _MERGE.finditer(part):
        column, first, _, last = range_boundaries(found[1].decode())
        if last > first:
            merges.setdefault(first, []).append((column, last))
    return merges


def _shown(value: _Value, number_format: str) -> str:
    """Return a value about as Excel shows it: 15 digits, percents, dates without midnight.

    Nothing is rounded as the format may ask.
    """
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, int | float):
        percent = "%" in number_format
        return f"{value * 100:.15g}%" if percent else _formatted(f"{value:.15g}", number_format)
    if isinstance(value, datetime) and value.time() == time():
        return value.date().isoformat()
    return " ".join(str(value).split())


def _formatted(number: str, number_format: str) -> str:
    """Return a number with its format's leading zeros, thousands, decimals and currency."""
    found = _FORMAT.fullmatch(_UNSEEN.sub("", number_format.partition(";")[0]).strip())
    whole, _, decimals = number.removeprefix("-").partition(".")
    if found is None or not f"{whole}{decimals}".isdecimal():
        return number
    whole = whole.zfill(len(found["zeros"] or ""))
    if found["thousands"]:
        whole = f"{int(whole):,}"
    decimals = decimals.ljust(len(found["decimals"] or ""), "0")
    sign = "-" if number.startswith("-") else ""
    before, after = (_MONEY.findall(found[name] or "") for name in ("before", "after"))
    return "".join([sign, *before, whole, "." * bool(decimals), decimals, *after])
