"""Tables in HTML, as lines of cells between bars like those of Markdown."""

import re
from dataclasses import dataclass

_LONGEST_ROW = 8_192
"""A longer one is none: a tag is spoken of."""

_ROW = re.compile(r"<tr\b", re.IGNORECASE)
_MARK = re.compile(
    r"<(?P<end>/?)(?P<name>[a-z][a-z0-9]{0,9})\b(?P<more>[^<>]{0,1000})>|\n", re.IGNORECASE
)
_LONGEST_TAG = 1_024
_ROW_BEGUN = re.compile(r"<(?:t(?:r(?:\s.*)?)?)?", re.IGNORECASE | re.DOTALL)
_SPAN = re.compile(r"\bcolspan\s*=\s*[\"']?([1-9][0-9]?)\b", re.IGNORECASE)


@dataclass(slots=True)
class Markup:
    """A text that comes in parts.

    Attributes:
        tail: Of what was read, a tag that has not ended.
        row: How long the row of a table is by now; None: there is none.
    """

    tail: str = ""
    row: int | None = None

    def read(self, text: str) -> str:
        """Go on by `text`; return it with a line for each row of a table."""
        if self.row is None and not self.tail and "<" not in text:
            return text
        text = self.tail + text
        begins_row = _ROW.search(text)
        end = self._tail_of(text, in_table=self.row is not None or begins_row is not None)
        text, self.tail = text[:end], text[end:]
        if self.row is None and not begins_row:
            return text
        at = 0

        def line(mark: re.Match[str]) -> str:
            nonlocal at
            passed, at = mark.end() - at, mark.end()
            return self._line(mark, passed)

        lines = _MARK.sub(line, text)
        if self.row is not None:
            self.row += end - at
        return lines

    def _tail_of(self, text: str, *, in_table: bool) -> int:
        """Return where a tag begins that has not ended: one of a table, or that may begin a row."""
        at = text.rfind("<", -_LONGEST_TAG)
        tail = text[at:] if at >= 0 else ">"
        return at if ">" not in tail and (in_table or _ROW_BEGUN.fullmatch(tail)) else len(text)

    def _line(self, mark: re.Match[str], passed: int) -> str:
        """Return what stands for a tag, or the end of a line, behind so many characters."""
        tag = mark["end"] + mark["name"].lower() if mark["name"] else "\n"
        if self.row is not None:
            self.row += passed
        if tag == "tr":
            self.row = 0
            return "\n"
        if self.row is None:
            return mark[0]
        if tag == "/table" or self.row > _LONGEST_ROW:
            self.row = None
            return "\n\n"
        if tag in ("td", "th"):
            span = _SPAN.search(mark["more"])
            return "|" * (int(span[1]) if span else 1)
        return " " if tag in ("\n", "br") else ""
