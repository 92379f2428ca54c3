"""Cut a passage into the sentences that can be quoted, and the headings above them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest

from rag.chunk import heading_level

_LINE = re.compile(r"[^\n]*\S[^\n]*")
_END = re.compile(r"(?<=[.!?。！？…])[\"'”’)\]]*(?:\s+|$)|(?<=[。！？])")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:e\.g|i\.e|mr|mrs|ms|dr|prof|no|vs|cf|fig|approx|inc|ltd|co|st|[a-z])\.$|"
    r"^\s*\d{1,3}\.$|\d{4}\.(?: ?\d{1,2}\.){2}$",  # a list's number, a Korean date
    re.IGNORECASE,
)
_CLOCK = re.compile(r"[ap]\.m\.$", re.IGNORECASE)
_CLOSED = re.compile(r"[.!?:;。！？…][\"'”’)\]]*\s*$|[다요함음임]\s*$")
_BLOCK_START = re.compile(r"\s*(?:[-*•·▪○●■□※|#>]|\d{1,3}[.)]\s|[①-⑳])")
_LIST_MARK = re.compile(r"\s*(?:[-*•·▪○●]\s+(?=\S))?")
_FULL_LINE = 0.75  # of the widest line: a shorter one was ended on purpose
_HEADING_CHARS = 40
_VALUE = re.compile(r"[\d|:=]")  # `Annual leave: 15 days` is a statement


@dataclass(frozen=True, slots=True)
class Sentence:
    """A span of a passage's content.

    Attributes:
        start: Offset of its first character.
        end: Offset behind its last.
        heading: The nearest heading above it in the passage; empty without.
        place: How many sentences stand between it and that heading.
    """

    start: int
    end: int
    heading: str
    place: int


def sentences(content: str) -> list[Sentence]:
    """Return the quotable sentences in reading order; list items and table rows count as such."""
    found: list[Sentence] = []
    heading, place = "", 0
    blocks = list(_blocks(content))
    for index, (start, end) in enumerate(blocks):
        block = content[start:end]
        if _is_heading(block, index, len(blocks)):
            heading, place = block.strip("# \n"), 0
            continue
        for span in _cut(content, start, end):
            found.append(Sentence(*span, heading, place))
            place += 1
    return found


def _blocks(content: str) -> Iterator[tuple[int, int]]:
    """Yield lines, joined where a line only ended because it was full."""
    lines = [match.span() for match in _LINE.finditer(content)]
    widest = max((end - start for start, end in lines), default=0)
    block_start = None
    for (start, end), following in zip_longest(lines, lines[1:]):
        block_start = start if block_start is None else block_start
        if following and _goes_on(content, (start, end), following, widest):
            continue
        yield block_start, end
        block_start = None


def _goes_on(content: str, line: tuple[int, int], following: tuple[int, int], widest: int) -> bool:
    start, end = line
    text, following_text = content[start:end], content[following[0] : following[1]]
    if following[0] - end > 1 or _BLOCK_START.match(following_text):
        return False
    if text.lstrip().startswith(("#", "|")) or heading_level(text):
        return False
    if following_text.lstrip()[0].islower():
        return True
    return end - start >= _FULL_LINE * widest and not _CLOSED.search(text)


def _is_heading(block: str, index: int, count: int) -> bool:
    """Tell a heading from a list item or a short statement."""
    line = block.strip()
    if line.isdigit() or line.startswith("#") or heading_level(line):
        return True
    if index == count - 1 or len(line) > _HEADING_CHARS or _BLOCK_START.match(line):
        return False
    if line.endswith(("?", "？")):
        return True
    return not _CLOSED.search(line) and (index == 0 or not _VALUE.search(line))


def _cut(content: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    begin = start
    for edge in _END.finditer(content, start, end):
        text = content[begin : edge.end()].rstrip()
        following = content[edge.end() : edge.end() + 1]
        if _is_inside(text, following):
            continue
        if text.strip():
            yield _trim(content, begin, edge.end())
        begin = edge.end()
    if content[begin:end].strip():
        yield _trim(content, begin, end)


def _is_inside(text: str, following: str) -> bool:
    """Tell whether the full stop at the end of `text` does not end the sentence."""
    if _CLOCK.search(text):
        return not following.isupper()
    is_date = following.isdigit() and text[-2:-1].isdigit()
    return following.islower() or is_date or bool(_ABBREVIATION.search(text))


def _trim(content: str, start: int, end: int) -> tuple[int, int]:
    """Leave out white space at both ends, and a list's mark."""
    span = content[start:end].rstrip()
    mark = _LIST_MARK.match(span)
    return start + (mark.end() if mark else 0), start + len(span)
