"""A PDF page as prose and tables: cells by the rules around them, else by wide gaps that align."""

import ctypes
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pypdfium2
from pypdfium2 import raw

from rag.parse.pdf_rules import Grid, find_grids

_GAP = 1.5  # of a line's height: no space between words is that wide
_LEAST_GAP = 6.0  # points between columns
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

    @property
    def middle(self) -> tuple[float, float]:
        return (self.left + self.right) / 2, (self.bottom + self.top) / 2

    def is_below(self, other: "_Char") -> bool:
        """It begins a line below the other's."""
        return self.right < other.left and self.top < other.bottom


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
    chars = _chars(text)
    grids = [grid for drawn in grids if (grid := _with_columns(drawn, chars))]
    for part in _by_rules(chars, grids):
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


def _with_columns(grid: Grid, chars: Sequence[_Char]) -> Grid | None:
    """Return a table whose rows alone are ruled with borders where no row has text, if it is one.

    Not if a row has several lines in several columns: those may be rows without rules.
    """
    if grid.has_columns:
        return grid
    inside = [char for char in chars if not char.text.isspace() and grid.cell_at(*char.middle)]
    inside.sort(key=lambda char: char.left)
    borders, reached = [], inside[0].right if inside else 0.0
    for char in inside:
        if char.left - reached > _LEAST_GAP:
            borders.append((reached + char.left) / 2)
        reached = max(reached, char.right)
    columned = grid.with_columns(borders)
    cells: dict[tuple[int, int], list[_Char]] = {}
    for char in inside:
        if place := columned.cell_at(*char.middle):
            cells.setdefault(place, []).append(char)
    wrapped = Counter(row for (row, _), held in cells.items() if _is_wrapped(held))
    return columned if borders and max(wrapped.values(), default=0) < 2 else None


def _is_wrapped(chars: Sequence[_Char]) -> bool:
    height = max(char.top - char.bottom for char in chars)
    middles = [char.middle[1] for char in chars]
    return max(middles) - min(middles) > height


def _by_rules(chars: Sequence[_Char], grids: Sequence[Grid]) -> list[list[_Char] | _Table]:
    """Put characters into the cells around them; a table stands where its first one does."""
    tables = [_Table(grid) for grid in grids]
    parts: list[list[_Char] | _Table] = [[]]
    cell: list[str] | None = None
    for char in chars:
        if not char.text.isspace():
            cell = None
            for table in tables:
                if place := table.grid.cell_at(*char.middle):
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
    """Yield the lines, also those between short cells that PDFium takes for one."""
    line: list[_Char] = []
    before: _Char | None = None
    for char in chars:
        shown = not char.text.isspace()
        if char.text == "\n" or (shown and before and char.is_below(before)):
            yield line
            line, before = [], None
        if char.text not in "\r\n":
            line.append(char)
        if shown:
            before = char
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
