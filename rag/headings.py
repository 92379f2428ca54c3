"""What each line of a passage is: a heading, a table's header or row, or text that says something.

Few documents mark their headings. A short line is one where something of another kind follows it:
text, a list, a table. Short lines among their like are a list, and each of them says something.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Literal, TypeAlias

from rag.chunk import heading_level

Role: TypeAlias = Literal["heading", "header", "names", "row", "rule", "text"]
"""`header` and `names` name a table's columns; `names` may be its first row as well.

`rule` is Markdown's line below a header.
"""

BLOCK_START = re.compile(r"\s*(?:[-*•·▪○●■□※|#>]|\d{1,3}[.)]\s|[①-⑳])")
CLOSED = re.compile(r"[.!?:;。！？…][\"'”’)\]]*\s*$|[다요함음임]\s*$")
_HEADING_CHARS = 40
_VALUE = re.compile(r"[\d:=]")  # `Annual leave: 15 days` is a statement
_LABELLED = re.compile(r"\S\s?[:=]\s?\S")
_RULE = re.compile(r"[\s|:-]+")
_DIGIT = re.compile(r"\d")
_NUMBER = re.compile(r"[₩$€£¥(+-]?\s?\d[\d\s.,:/-]*[%원)]?")
_NEAR_LINES = 3  # compared to each side: a list's own headings stand between its items
_MOST_WORDS = 7
_OWN_WORDS = 2  # of a statement beside another one: what it is about, and what it says of that
_VALUES_SHARE = 0.8


def is_row(line: str) -> bool:
    """Tell whether a line is cells of a table."""
    line = line.lstrip()
    return line.startswith("|") or (" | " in line and not line.startswith("#"))


def are_alike(one: str, other: str) -> bool:
    """Tell whether two lines are short and say the same of different things.

    `Asan plant manager Kim`, `Busan plant manager Lee`: a word in the same place, and others for
    what it is about and for what is said of it; or a label before a colon in both.
    """
    if max(len(one), len(other)) > _HEADING_CHARS:
        return False
    if _LABELLED.search(one) and _LABELLED.search(other):
        return True
    words, others = one.split(), other.split()
    if max(len(words), len(others)) > _MOST_WORDS:
        return False
    shared = [word == its for word, its in zip(words, others, strict=False)]
    own = min(len(words), len(others)) - sum(shared)
    return any(shared) and not shared[0] and own >= _OWN_WORDS


def roles(lines: Sequence[str]) -> list[Role]:
    """Return what each line of a passage is."""
    found: list[Role] = []
    items = _items(lines)
    for start, end in _runs([is_row(line) for line in lines]):
        if is_row(lines[start]):
            found += _rows(lines[start:end], first=start == 0)
            continue
        for index in range(start, end):
            stated = index in items or not _is_heading(lines[index], index, len(lines))
            found.append("text" if stated else "heading")
    return found


def _is_heading(line: str, index: int, count: int) -> bool:
    """Tell a heading from a list item or a short statement, by what it says itself."""
    if _is_marked(line):
        return True
    if index == count - 1 or len(line) > _HEADING_CHARS or BLOCK_START.match(line):
        return False
    if line.endswith(("?", "？")):
        return True
    return not CLOSED.search(line) and (index == 0 or not _VALUE.search(line))


def _is_marked(line: str) -> bool:
    return line.isdigit() or line.startswith("#") or heading_level(line) > 0


def _items(lines: Sequence[str]) -> set[int]:
    """Return which of the short lines one after another are a list, not headings."""
    items: set[int] = set()
    for start, end in _runs([_is_short(line) for line in lines]):
        if not _is_short(lines[start]):
            continue
        run = lines[start:end]
        alike = [start + n for n in range(len(run)) if _has_like(run, n)]
        if alike:
            last = end if end == len(lines) else alike[-1] + 1
            items.update(range(alike[0], last))
        elif end == len(lines) and end - start > 2:
            under_heading = start > 0 and _is_marked(lines[start - 1])
            items.update(_last_ones(lines, start if under_heading else start + 1))
    return items


def _last_ones(lines: Sequence[str], start: int) -> Iterator[int]:
    """Yield the lines that no text follows, unless one is a word alone or heads a value."""
    for index in range(start, len(lines)):
        following = lines[index + 1] if index + 1 < len(lines) else ""
        if len(lines[index].split()) > 1 and not _VALUE.search(following):
            yield index


def _is_short(line: str) -> bool:
    if len(line) > _HEADING_CHARS or CLOSED.search(line) or BLOCK_START.match(line):
        return False
    return not (is_row(line) or _is_marked(line))


def _has_like(run: Sequence[str], index: int) -> bool:
    near = range(max(0, index - _NEAR_LINES), min(len(run), index + _NEAR_LINES + 1))
    return any(other != index and are_alike(run[index], run[other]) for other in near)


def _rows(lines: Sequence[str], *, first: bool) -> list[Role]:
    """Return what the lines of a table are; a long one repeats its header."""
    header = _header(lines, first=first)
    found: list[Role] = []
    for line in lines:
        if _RULE.fullmatch(line):
            found.append("rule")
        else:
            found.append(header if line == lines[0] else "row")
    return found


def _header(lines: Sequence[str], *, first: bool) -> Role:
    """Return what a table's first row is.

    A form (name, value, name, value) has no header; where the values stand in every other column,
    it may be one.
    """
    if len(lines) > 1 and _RULE.fullmatch(lines[1]):
        return "header"
    names, *rows = ([cell.strip() for cell in line.split("|")] for line in lines)
    if _LABELLED.search(lines[0]) or not rows or len(names) != len(rows[0]):
        return "row"
    values = [
        n for n, name in enumerate(names) if _names_values(name, [row[n : n + 1] for row in rows])
    ]
    if any(map(_NUMBER.fullmatch, names)) or not values:
        return "names" if first and not _DIGIT.search(lines[0]) else "row"
    is_form = len(names) % 2 == 0 and all(column % 2 for column in values)
    return "names" if is_form else "header"


def _names_values(name: str, column: Sequence[Sequence[str]]) -> bool:
    """Tell whether a column's cells have numbers unlike what stands above them."""
    cells = [cell for row in column for cell in row if cell]
    kind = _NUMBER.fullmatch if _DIGIT.search(name) else _DIGIT.search
    return sum(bool(kind(cell)) for cell in cells) >= _VALUES_SHARE * len(cells) > 0


def _runs(marks: Sequence[bool]) -> Iterator[tuple[int, int]]:
    """Yield where a mark stays the same, from and up to."""
    start = 0
    for index in range(1, len(marks) + 1):
        if index == len(marks) or marks[index] != marks[start]:
            yield start, index
            start = index
