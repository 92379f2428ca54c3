"""Rows of cells to lines of text, so that every chunk of a long table makes sense alone."""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest

LABEL_CHARS = 60
"""Of a merged cell that is said again in every row; a longer one is a remark."""

_APART = " | "
_BLOCK_CHARS = 400  # smaller than a chunk: with its header it stays in one
_CELL_CHARS = 500
_HEADER_CHARS = 60
_MOST_SPANNED = 50  # columns by one cell: pages ask for any number
_MOST_COLUMNS = 200  # in which cells reach down
_MOST_REPEATED_CHARS = 1 << 20
_SAMPLE_ROWS = 100
_VALUES_SHARE = 0.8
_VALUE = re.compile(r"[₩$€£¥(+-]?\s?\d[\d\s.,:/-]*[%원)]?")


def table_text(rows: Iterable[Sequence[str]]) -> str:
    """Return a row a line, cells apart by ` | `; a long table as `repeat_header` does."""
    return repeat_header([line for row in _without_margin([*rows]) if (line := _line(row))])


def fill_down(rows: Iterable[Sequence[str | None]]) -> Iterator[list[str]]:
    """Yield rows with the text above where a cell, `None`, is merged with that, if it is short.

    A row of nothing else is empty.
    """
    above: list[str] = []
    for row in rows:
        above += [""] * (len(row) - len(above))
        cells = [text if cell is None else cell for cell, text in zip(row, above, strict=False)]
        above = [_repeated(cell) for cell in cells]
        yield cells if any(row) else []


class Spans:
    """What stands in a table's columns, row by row, whose cells may reach over several of both."""

    def __init__(self) -> None:
        self._column = 0
        self._reaching: dict[int, tuple[int, str]] = {}  # column -> rows from here on, text
        self._left = _MOST_REPEATED_CHARS

    def start_row(self) -> None:
        """Begin the next row."""
        self._column = 0
        self._reaching = {
            column: (rows - 1, text) for column, (rows, text) in self._reaching.items() if rows > 1
        }

    def before(self) -> list[str]:
        """Return what cells above put before the row's next cell, or behind its last."""
        texts = []
        while self._column in self._reaching:
            text = self._reaching[self._column][1]
            self._left -= len(text)
            texts.append(text if self._left >= 0 else "")
            self._column += 1
        return texts

    def add(self, text: str, columns: int, rows: int) -> list[str]:
        """Put a cell into the row; return the empty ones for further columns that it reaches."""
        columns = max(1, min(columns, _MOST_SPANNED))
        last = min(self._column + columns, _MOST_COLUMNS) if rows > 1 else 0
        for column in range(self._column, last):
            self._reaching[column] = rows, _repeated(text) if column == self._column else ""
        self._column += columns
        return [""] * (columns - 1)


def _repeated(text: str) -> str:
    """Return what of a merged cell is said in its other rows."""
    text = " ".join(text.split())
    return text if len(text) <= LABEL_CHARS else ""


def repeat_header(lines: Sequence[str], head: int = 1) -> str:
    """Return a table's lines; a long one in paragraphs that each begin with the lines of its head.

    The first of these names the columns.
    """
    if not _is_long(lines) or not _may_repeat(lines[0]):
        return "\n".join(lines)
    names = lines[:head]
    blocks, size = [[*names]], sum(map(len, names))
    for line in lines[head:]:
        if size + len(line) > _BLOCK_CHARS and len(blocks[-1]) > head:
            blocks.append([*names])
            size = sum(map(len, names))
        blocks[-1].append(line)
        size += len(line)
    return "\n\n".join("\n".join(block) for block in blocks)


def sheet_text(rows: Iterable[Sequence[str]]) -> str:
    """Return a sheet's tables; where the header is sure, a row of a long one is `header: value`s.

    A table ends behind an empty row, where the header's columns no longer fit or a title follows.
    """
    return "\n\n".join(map(_table, _tables(rows)))


def _tables(rows: Iterable[Sequence[str]]) -> Iterator[list[Sequence[str]]]:
    table: list[Sequence[str]] = []
    behind_gap = False
    for row in rows:
        filled = _filled(row)
        if filled and table and _starts_table(_filled(table[0]), filled, behind_gap=behind_gap):
            yield table
            table = []
        if filled:
            table.append(row)
        behind_gap = not filled
    if table:
        yield table


def _starts_table(first: set[int], filled: set[int], *, behind_gap: bool) -> bool:
    if len(first) == 1:  # a title, or a list
        return len(filled) > 1
    return behind_gap and (len(filled) == 1 or not filled <= first)


def _table(rows: list[Sequence[str]]) -> str:
    rows = _without_margin(rows)
    if not _has_header(rows) or not _is_long(map(_line, rows)):
        return table_text(rows)
    return "\n\n".join(_labelled(rows[0], row) for row in rows[1:])


def _has_header(rows: list[Sequence[str]]) -> bool:
    """Tell whether the first row names the columns: different words, and numbers below one.

    A form (name, value, name, value) has none; to label its cells would make false statements.
    """
    names = [cell for cell in rows[0] if cell]
    if len(names) < 2 or len(set(names)) < len(names):
        return False
    if any(len(name) > _HEADER_CHARS or _VALUE.fullmatch(name) for name in names):
        return False
    return any(map(_is_of_values, zip_longest(*rows[1:_SAMPLE_ROWS], fillvalue="")))


def _is_of_values(column: Sequence[str]) -> bool:
    cells = [cell for cell in column if cell]
    values = sum(bool(_VALUE.fullmatch(cell)) for cell in cells)
    return bool(cells) and values >= _VALUES_SHARE * len(cells)


def _labelled(header: Sequence[str], row: Sequence[str]) -> str:
    names = [*header, *[""] * (len(row) - len(header))]
    pairs = zip(names, row, strict=False)
    return _APART.join(f"{name}: {cell}" if name else cell for name, cell in pairs if cell)


def _filled(row: Sequence[str]) -> set[int]:
    return {column for column, cell in enumerate(row) if cell.strip()}


def _is_long(lines: Iterable[str]) -> bool:
    return sum(map(len, lines)) > _BLOCK_CHARS


def _may_repeat(line: str) -> bool:
    return _APART in line and len(line) <= _BLOCK_CHARS // 2


def _line(row: Sequence[str]) -> str:
    """Return a row in one line, empty cells kept but for those at its end.

    A row that is a box around text, or lays a page out, keeps its lines.
    """
    filled = [cell.strip() for cell in row if cell.strip()]
    if len(filled) == 1 or any(len(cell) > _CELL_CHARS for cell in filled):
        return "\n\n".join(filled)
    return _APART.join(" ".join(cell.split()) for cell in row).rstrip(_APART).lstrip()


def _without_margin(rows: list[Sequence[str]]) -> list[Sequence[str]]:
    """Leave out the columns at the left that no row has; a title may stand over them."""
    starts = [min(filled) for row in rows if len(filled := _filled(row)) > 1]
    margin = min(starts, default=0)
    return [row[margin:] if len(_filled(row)) > 1 else row for row in rows]
