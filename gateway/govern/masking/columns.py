"""What the head of a number's column, or of the list that it stands in, says it is.

Of what was read one line and the last head are kept, however far above that stands: rows are told
by it until their table or list ends.
"""

import re
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace

from gateway.govern.masking.markup import Markup
from gateway.govern.masking.normal import view

LONGEST_LINE = 1_024
"""Longer lines are no heads and no rows: under none is what stands there further behind."""

_GAP = "  "
_GAPS = re.compile(" {2,}")
_JOINTS = ("|", "\t", ";", ",", _GAP)
"""What columns lie between, the surest first; spaces where a column is aligned."""

_LONGEST_NAME = 40
_AROUND = " \t\r*_`\"'#>[](){}:=.-"
_WORDS = (
    *("계좌", "통장", "여권", "면허"),
    *("account", "acct", "a/c", "iban", "passport", "licen"),
)
_KOREAN, _ENGLISH = "(?:[가-힣]{1,6} ){0,2}[가-힣]{0,6}", "(?:[a-z]{2,12}[ _-]){0,3}"
_NO = r"(?:[ _-]?(?:numbers?|nos?\.?|num|#))"
_NAME = re.compile(
    r"(?:[0-9]{1,2}[.)] ?)?(?:"
    rf"(?P<account>{_KOREAN}(?:계좌(?: ?번호)?|통장 ?번호)"
    rf"|{_ENGLISH}(?:[a-z]{{0,12}}(?:account|acct)s?|a/c|ibans?){_NO}?)"
    rf"|(?P<passport_no>{_KOREAN}여권 ?번호|{_ENGLISH}passport{_NO})"
    rf"|(?P<licence>{_KOREAN}면허(?:증)? ?번호|{_ENGLISH}(?:driver'?s?[ _-]?)?licen[sc]e{_NO})"
    r")[0-9]{0,2}(?: ?(?:정보|목록|안내)|[은는] ?(?:다음|아래)[가-힣 ]{0,12}"
    r"|(?: (?:is|are))?(?: as follows|(?: listed)? below))?(?: ?\([^()]{0,12}\)?)?",
    re.IGNORECASE,
)
_QUOTED = re.compile('"[^"]*"?')
_VALUE = re.compile("(?:[0-9][^0-9]{0,2}){7}")
"""What makes a line a row, and no head: as many digits as the shortest number has."""

_MARKS = re.compile(r"[\W_]*(?:[0-9]{1,2}[.)])?[\W_]*")
_WHOSE = re.compile(
    r"(?!.*(?:번호|코드|금액|합계|수량|바코드|품번|ref|id\b|no\b|code|total|amount|serial|track|inv))"
    r"(?:[가-힣]{2,4}|[a-z]+(?: [a-z]+){0,2})?(?: ?\([^()]{0,12}\))?[ \t:=,|*_`\"'-]{0,6}",
    re.IGNORECASE,
)
"""A name may stand before a number of a list; what says that it is another number may not."""


@dataclass(frozen=True, slots=True)
class _Head:
    """The columns of a table that say what their numbers are; a list has one and no joint."""

    joint: str
    names: Mapping[int, str]
    has_rows: bool = False

    def after(self, line: str) -> "_Head | None":
        """Return the head of what follows `line`, if that is still this one."""
        if not line.strip(" \t\r|:+=-"):
            # A rule below rows has another head above itself.
            return self if self.joint in line and not self.has_rows else None
        goes_on = self.joint in line if self.joint else _VALUE.search(line)
        return replace(self, has_rows=True) if goes_on else None

    def before(self, row: str) -> str | None:
        """Return what stands before a number behind `row`: its column's name and its cell."""
        if not self.joint:
            whose = _MARKS.sub("", row, count=1)
            return f"{self.names[0]}: {whose}" if _WHOSE.fullmatch(whose) else None
        *others, cell = _cells(row, self.joint)
        name = self.names.get(len(others))
        return f"{name}: {cell.strip()}" if name else ""


class Columns:
    """Reads a text, as detectors do, from its first line on."""

    def __init__(self) -> None:
        self._line = ""
        self._head: _Head | None = None
        self._markup = Markup()

    def read(self, text: str) -> None:
        """Go on by `text`."""
        *lines, self._line = (self._line + self._markup.read(text)).split("\n")
        if self._head or any(map(_has_word, lines)):
            for line in lines:
                self._head = self._after(line) if len(line) <= LONGEST_LINE else None
        self._line = self._line[: LONGEST_LINE + 1]

    def over(self, text: str, start: int) -> Callable[[int], str | None] | None:
        """Return what tells, for places of `text` in their order, what is said of a number there.

        It says "" in a table's other columns, None under no head. All before `start` was read.
        """
        if self._head is None and not _has_word(self._line + text[start:]):
            return None
        columns, at = deepcopy(self), start

        def before(place: int) -> str | None:
            nonlocal at
            columns.read(text[at:place])
            at = place
            return columns._before()  # noqa: SLF001 - a copy of this

        return before

    def _before(self) -> str | None:
        line = _seen(self._line + self._markup.tail)
        if len(line) > LONGEST_LINE:
            return None
        if self._head:
            return self._head.before(line)
        return None if self._markup.row is None else line.replace("|", " ")

    def _after(self, line: str) -> _Head | None:
        line = _seen(line).rstrip(" ")
        return _head(line) or (self._head and self._head.after(line))


def _seen(line: str) -> str:
    """Return a line as it is seen whole, unindented: what is escaped may have come in two parts."""
    return view(line).text.lstrip(" ")


def _has_word(text: str) -> bool:
    text = text.lower()
    return any(word in text for word in _WORDS)


def _head(line: str) -> _Head | None:
    if not _has_word(line) or _VALUE.search(line):
        return None
    joint = next((each for each in _JOINTS if each in line), "")
    cells = [" ".join(cell.split()).strip(_AROUND) for cell in _cells(line, joint)]
    names = {i: name for i, cell in enumerate(cells) if (name := _name(cell))}
    is_head = names and all(len(cell) <= _LONGEST_NAME for cell in cells)
    return _Head(joint, names) if is_head else None


def _name(cell: str) -> str | None:
    match = _NAME.fullmatch(cell) if len(cell) <= _LONGEST_NAME else None
    return match and match.lastgroup and match.lastgroup.replace("_", " ")


def _cells(line: str, joint: str) -> list[str]:
    if joint == "|":
        line = line.replace(r"\|", "  ").lstrip(" \t").removeprefix("|")
    elif joint in {",", ";"}:
        line = _QUOTED.sub(lambda quoted: quoted[0].replace(joint, " "), line)
    if joint == _GAP:
        return _GAPS.split(line)
    return line.split(joint) if joint else [line]
