"""Cut a passage into the sentences that can be quoted, and the headings above them."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from rag.chunk import heading_level
from rag.headings import BLOCK_START, CLOSED, Role, are_alike, is_row, roles

_LINE = re.compile(r"[^\n]*\S[^\n]*")
_END = re.compile(r"(?<=[.!?。！？…])[\"'”’)\]]*(?:\s+|$)|(?<=[。！？])")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:e\.g|i\.e|mr|mrs|ms|dr|prof|no|vs|cf|fig|approx|inc|ltd|co|st|[a-z])\.$|"
    r"^\s*\d{1,3}\.$|\d{4}\.(?: ?\d{1,2}\.){2}$",  # a list's number, a Korean date
    re.IGNORECASE,
)
_CLOCK = re.compile(r"[ap]\.m\.$", re.IGNORECASE)
_LIST_MARK = re.compile(r"\s*(?:[-*•·▪○●]\s+(?=\S))?")
_FULL_LINE = 0.75  # of the widest line: a shorter one was ended on purpose
_LEAST_COLUMNS = 32  # of a full line; shorter ones are a list
_ROW_CHARS = 400  # a longer one is paragraphs in cells


@dataclass(frozen=True, slots=True)
class Sentence:
    """A span of a passage's content.

    Attributes:
        start: Offset of its first character.
        end: Offset behind its last.
        heading: The nearest heading above it in the passage, and its table's header under that;
            empty without.
        place: How many sentences, or headers, stand between it and that heading.
    """

    start: int
    end: int
    heading: str
    place: int


def sentences(content: str) -> list[Sentence]:
    """Return the quotable sentences in reading order; list items and table rows count as such."""
    found: list[Sentence] = []
    heading = above = ""
    place = 0
    blocks = list(_blocks(content))
    for (start, end), role in zip(blocks, _roles(content, blocks), strict=True):
        text = content[start:end].strip("# \n")
        if role == "heading":
            heading, above, place = text, text, 0
        elif role == "text":
            above = heading
        if role in ("text", "row", "names"):
            for span in _spans(content, start, end, is_one=role != "text"):
                found.append(Sentence(*span, heading if role == "names" else above, place))
                place += 1
        if role in ("header", "names"):
            above = f"{heading}\n{text}".strip()
            place += role == "header"
    return found


def _roles(content: str, blocks: Sequence[tuple[int, int]]) -> list[Role]:
    return roles([content[start:end].strip() for start, end in blocks])


def _spans(content: str, start: int, end: int, *, is_one: bool) -> Iterator[tuple[int, int]]:
    if is_one and end - start <= _ROW_CHARS:
        yield _trim(content, start, end)
    else:
        yield from _cut(content, start, end)


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
    if following[0] - end > 1 or BLOCK_START.match(following_text):
        return False
    if text.lstrip().startswith("#") or heading_level(text):
        return False
    if is_row(text) or is_row(following_text) or are_alike(text, following_text):
        return False
    if following_text.lstrip()[0].islower():
        return True
    return _is_full(text, widest) and not CLOSED.search(text)


def _is_full(line: str, widest: int) -> bool:
    """Tell whether a line may have ended because there was no more room."""
    if len(line) < _FULL_LINE * widest:
        return False
    wide = sum(map("가".__le__, line))
    return len(line) + wide >= _LEAST_COLUMNS


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
