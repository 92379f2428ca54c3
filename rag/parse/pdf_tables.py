"""A PDF page as prose and tables: cells by the rules around them, else by wide gaps that align."""

import ctypes
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pypdfium2
from pypdfium2 import raw

from rag.parse.pdf_rules import Grid, find_grids

_GAP = 1.5  # of a line's height: no space between words is that wide
_LEAST_ROWS = 3
_SUSPICIOUS_GAPS = 3

Rows = list[list[str]]


@dataclass(frozen=True, slots=True)
class _Char:
    text: str
    left: float
    bottom: float
    right: float
    top: float


@dataclass(frozen=True, slots=True)
class _Table:
    """The cells' characters of a ruled table."""

    grid: Grid
    cells: dict[tuple[int, int], list[str]] = field(default_factory=dict)

    def rows(self) -> Rows:
        return [
            ["".join(self.cells.get((row, column), ())) for column in range(len(borders) - 1)]
            for row, borders in enumerate(self.grid.columns)
        ]


@dataclass(frozen=True, slots=True)
class _Cell:
    text: str
    left: float
    right: float

    def overlaps(self, other: "_Cell") -> bool:
        return self.left < other.right and other.left < self.right


def split_tables(page: pypdfium2.PdfPage, text: pypdfium2.PdfTextPage) -> list[str | Rows] | None:
    """Return a page's prose and tables in reading order, or None if there is no table."""
    grids = find_grids(page)
    if not grids and not _has_columns(text):
        return None
    parts: list[str | Rows] = []
    for part in _by_rules(_chars(text), grids):
        parts += [part.rows()] if isinstance(part, _Table) else _by_gaps(part)
    return parts if any(isinstance(part, list) for part in parts) else None


def _has_columns(text: pypdfium2.PdfTextPage) -> bool:
    """Tell quickly whether some pieces of text stand wide apart in their line."""
    gaps, before = 0, (0.0, 0.0, 0.0, 0.0)
    for index in range(text.count_rects()):
        left, bottom, right, top = text.get_rect(index)
        same_line = min(top, before[3]) > max(bottom, before[1])
        gaps += same_line and left - before[2] > _GAP * (top - bottom)
        before = left, bottom, right, top
    return gaps >= _SUSPICIOUS_GAPS


def _chars(text: pypdfium2.PdfTextPage) -> list[_Char]:
    left, right, bottom, top = (ctypes.c_double() for _ in range(4))
    chars = []
    for index in range(text.count_chars()):
        raw.FPDFText_GetCharBox(text, index, left, right, bottom, top)
        character = chr(raw.FPDFText_GetUnicode(text, index))
        chars.append(_Char(character, left.value, bottom.value, right.value, top.value))
    return chars


def _by_rules(chars: Sequence[_Char], grids: Sequence[Grid]) -> list[list[_Char] | _Table]:
    """Put characters into the cells around them; a table stands where its first one does."""
    tables = [_Table(grid) for grid in grids]
    parts: list[list[_Char] | _Table] = [[]]
    cell: list[str] | None = None
    for char in chars:
        if not char.text.isspace():
            cell = None
            x, y = (char.left + char.right) / 2, (char.bottom + char.top) / 2
            for table in tables:
                if place := table.grid.cell_at(x, y):
                    if not table.cells:
                        parts += [table, []]
                    cell = table.cells.setdefault(place, [])
                    break
        if cell is not None:
            cell.append(char.text)
        elif isinstance(prose := parts[-1], list):
            prose.append(char)
    return parts


def _by_gaps(chars: Sequence[_Char]) -> Iterator[str | Rows]:
    """Yield prose, and as tables the lines in a row whose gaps align."""
    prose: list[str] = []
    table: list[list[_Cell]] = []
    for line in [*_lines(chars), []]:
        cells = _cells(line)
        if table and not _aligned(table[0], cells):
            if len(table) >= _LEAST_ROWS:
                yield "\n".join(prose)
                yield [_placed(table[0], row) for row in table]
                prose = []
            else:
                prose += [" ".join(cell.text for cell in row) for row in table]
            table = []
        if len(cells) > 1:
            table.append(cells)
        else:
            prose.append("".join(char.text for char in line))
    yield "\n".join(prose)


def _lines(chars: Sequence[_Char]) -> Iterator[list[_Char]]:
    line: list[_Char] = []
    for char in chars:
        if char.text == "\n":
            yield line
            line = []
        elif char.text != "\r":
            line.append(char)
    yield line


def _cells(line: Sequence[_Char]) -> list[_Cell]:
    """Cut a line at its wide gaps."""
    shown = [char for char in line if not char.text.isspace()]
    if not shown:
        return []
    height = max(char.top for char in shown) - min(char.bottom for char in shown)
    cells: list[_Cell] = []
    begun, before = 0, shown[0]
    for index, char in enumerate(line):
        if char.text.isspace():
            continue
        if char.left - before.right > _GAP * height:
            cells.append(_cell(line[begun:index]))
            begun = index
        before = char
    return [*cells, _cell(line[begun:])]


def _cell(chars: Sequence[_Char]) -> _Cell:
    shown = [char for char in chars if not char.text.isspace()]
    text = "".join(char.text for char in chars).strip()
    return _Cell(text, min(c.left for c in shown), max(c.right for c in shown))


def _aligned(head: Sequence[_Cell], cells: Sequence[_Cell]) -> bool:
    """Tell whether each cell stands below one of the head's, and no other does."""
    below = [[i for i, top in enumerate(head) if top.overlaps(cell)] for cell in cells]
    found = [columns[0] for columns in below if len(columns) == 1]
    return len(cells) > 1 and len(found) == len(cells) == len(set(found))


def _placed(head: Sequence[_Cell], row: Sequence[_Cell]) -> list[str]:
    return [" ".join(cell.text for cell in row if cell.overlaps(top)) for top in head]
