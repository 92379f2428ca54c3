"""The tables of a PDF page that are drawn with rules: which cell a point lies in."""

import ctypes
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import pypdfium2
from pypdfium2 import raw

_TOUCH = 2.5  # points: rules that near meet
_LEAST_LENGTH = 6.0
_MOST_RULES = 800  # a page with more is a drawing
_MOST_SHARE = 0.9  # of a page's sides: a larger rectangle is its background

Point = tuple[float, float]
Cell = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Rule:
    """A line at `at` of one axis, from `start` to `end` of the other."""

    at: float
    start: float
    end: float

    def reaches(self, place: float) -> bool:
        return self.start - _TOUCH <= place <= self.end + _TOUCH


@dataclass(frozen=True, slots=True)
class Grid:
    """A table.

    Attributes:
        edges: The rows' upper edges from top to bottom, and the lowest.
        above: The rules of each row's upper edge.
        columns: The borders of each row's own columns from left to right.
    """

    edges: Sequence[float]
    above: Sequence[Sequence[_Rule]]
    columns: Sequence[Sequence[float]]

    @property
    def has_columns(self) -> bool:
        """Some row has borders between cells."""
        return max(map(len, self.columns)) > 2

    def with_columns(self, borders: Sequence[float]) -> "Grid":
        """Return the table with these borders between the cells of every row."""
        left, right = self.columns[0][0], self.columns[0][-1]
        return Grid(self.edges, self.above, [[left, *borders, right]] * len(self.columns))

    def cell_at(self, x: float, y: float) -> Cell | None:
        """Return the row and column of a point; of a cell over several rows, the first."""
        if not (self.edges[-1] <= y <= self.edges[0]):
            return None
        row = min(bisect_left(self.edges, -y, key=lambda edge: -edge), len(self.columns)) - 1
        row = max(row, 0)
        while True:
            borders = self.columns[row]
            if not borders[0] <= x <= borders[-1]:
                return None
            column = min(bisect_right(borders, x), len(borders) - 1) - 1
            middle = (borders[column] + borders[column + 1]) / 2
            if row == 0 or any(rule.reaches(middle) for rule in self.above[row]):
                return row, column
            row -= 1


def find_grids(page: pypdfium2.PdfPage) -> list[Grid]:
    """Return a page's ruled tables of two rows at least; the rules may leave columns open."""
    across: list[_Rule] = []
    down: list[_Rule] = []
    for start, end in _strokes(page):
        (x0, y0), (x1, y1) = start, end
        if abs(y1 - y0) < _TOUCH and abs(x1 - x0) >= _LEAST_LENGTH:
            across.append(_Rule((y0 + y1) / 2, min(x0, x1), max(x0, x1)))
        elif abs(x1 - x0) < _TOUCH and abs(y1 - y0) >= _LEAST_LENGTH:
            down.append(_Rule((x0 + x1) / 2, min(y0, y1), max(y0, y1)))
        if len(across) + len(down) > _MOST_RULES:
            return []
    groups = list(_connected(across, down))
    met = {rule for group in groups for rule in group[0]}
    groups += _stacked([rule for rule in across if rule not in met])
    return [grid for group in groups if (grid := _grid(*group))]


def _grid(across: list[_Rule], down: list[_Rule]) -> Grid | None:
    ends = [end for rule in down for end in (rule.start, rule.end)]
    edges = _distinct([*(rule.at for rule in across), *ends])[::-1]
    left = min([rule.start for rule in across] + [rule.at for rule in down])
    right = max([rule.end for rule in across] + [rule.at for rule in down])
    above, columns = [], []
    for top, bottom in pairwise(edges):
        middle = (top + bottom) / 2
        inner = [rule.at for rule in down if rule.reaches(middle)]
        inner = [place for place in inner if left + _TOUCH < place < right - _TOUCH]
        columns.append([left, *_distinct(inner), right])
        above.append([rule for rule in across if _near(rule.at, top)])
    return Grid(edges, above, columns) if len(columns) > 1 else None


def _distinct(places: Iterable[float]) -> list[float]:
    found: list[float] = []
    for place in sorted(places):
        if not found or place - found[-1] > _TOUCH:
            found.append(place)
    return found


def _connected(across: list[_Rule], down: list[_Rule]) -> Iterator[tuple[list[_Rule], list[_Rule]]]:
    """Yield groups of rules that meet."""
    left_across, left_down = set(range(len(across))), set(range(len(down)))
    while left_down:
        group_across: set[int] = set()
        group_down = {left_down.pop()}
        todo = [down[i] for i in group_down]
        while todo:
            rule = todo.pop()
            met = {i for i in left_across if _meet(across[i], rule)}
            left_across -= met
            group_across |= met
            for other in (across[i] for i in met):
                more = {i for i in left_down if _meet(other, down[i])}
                left_down -= more
                group_down |= more
                todo += [down[i] for i in more]
        if group_across:
            yield [across[i] for i in group_across], [down[i] for i in group_down]


def _stacked(across: list[_Rule]) -> Iterator[tuple[list[_Rule], list[_Rule]]]:
    """Yield the rules of tables whose rows alone are ruled: they begin and end together."""
    for widest in list(across):
        alike = [r for r in across if _near(r.start, widest.start) and _near(r.end, widest.end)]
        if len(alike) > 2:
            yield alike, []
        across = [rule for rule in across if rule not in alike]


def _near(one: float, other: float) -> bool:
    return abs(one - other) <= _TOUCH


def _meet(across: _Rule, down: _Rule) -> bool:
    return across.reaches(down.at) and down.reaches(across.at)


def _strokes(page: pypdfium2.PdfPage) -> Iterator[tuple[Point, Point]]:
    """Yield the straight lines of a page's paths; a thin rectangle is one, along its middle."""
    width, height = page.get_size()
    for index in range(raw.FPDFPage_CountObjects(page)):
        item = raw.FPDFPage_GetObject(page, index)
        if raw.FPDFPageObj_GetType(item) != raw.FPDF_PAGEOBJ_PATH:
            continue
        for points in _outlines(item):
            xs, ys = [x for x, _ in points], [y for _, y in points]
            wide, high = max(xs) - min(xs), max(ys) - min(ys)
            if wide > _MOST_SHARE * width and high > _MOST_SHARE * height:
                continue
            is_line = len(points) > 2 and min(wide, high) < _TOUCH
            yield from pairwise(_middle(xs, ys) if is_line else points)


def _middle(xs: list[float], ys: list[float]) -> list[Point]:
    x, y = (min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2
    if max(xs) - min(xs) < max(ys) - min(ys):
        return [(x, min(ys)), (x, max(ys))]
    return [(min(xs), y), (max(xs), y)]


def _outlines(path: raw.FPDF_PAGEOBJECT) -> Iterator[list[Point]]:
    """Yield the connected straight lines of a path, in the page's coordinates."""
    matrix = raw.FS_MATRIX()
    raw.FPDFPageObj_GetMatrix(path, matrix)
    x, y = ctypes.c_float(), ctypes.c_float()
    points: list[Point] = []
    for index in range(min(raw.FPDFPath_CountSegments(path), 5 * _MOST_RULES)):
        segment = raw.FPDFPath_GetPathSegment(path, index)
        raw.FPDFPathSegment_GetPoint(segment, x, y)
        point = (
            matrix.a * x.value + matrix.c * y.value + matrix.e,
            matrix.b * x.value + matrix.d * y.value + matrix.f,
        )
        if raw.FPDFPathSegment_GetType(segment) == raw.FPDF_SEGMENT_MOVETO:
            if len(points) > 1:
                yield points
            points = []
        points.append(point)
        if raw.FPDFPathSegment_GetClose(segment):
            points.append(points[0])
    if len(points) > 1:
        yield points
