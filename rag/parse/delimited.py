"""CSV and its relatives to text."""

import csv

from rag.parse.tables import sheet_text

_DELIMITERS = ",;\t|"
_SAMPLE_LINES = 20
_LONGEST_CELL = 1_000_000


def parse_delimited(text: str) -> str:
    """Return the rows as lines; text that is no table stays as it is."""
    csv.field_size_limit(_LONGEST_CELL)
    lines = text.splitlines(keepends=True)
    delimiter = max(_DELIMITERS, key=lambda candidate: _fit(lines, candidate))
    try:
        rows = [
            [" ".join(cell.split()) for cell in row]
            for row in csv.reader(lines, delimiter=delimiter)
        ]
    except csv.Error:
        return text
    return sheet_text(rows)


def _fit(lines: list[str], delimiter: str) -> tuple[int, int]:
    """Return how many of the first rows have as many cells as most do, and how many that is."""
    try:
        widths = [len(row) for row in csv.reader(lines[:_SAMPLE_LINES], delimiter=delimiter)]
    except csv.Error:
        return 0, 0
    wide = [width for width in widths if width > 1]
    return max(((wide.count(width), width) for width in set(wide)), default=(0, 0))
