"""Markdown as it stands, but for long tables: every chunk of one must have the columns' names."""

import re
from collections.abc import Sequence

from rag.parse.tables import repeat_header

_RULE = re.compile(r"\|?(?:\s*:?-+:?\s*\|)+(?:\s*:?-+:?)?")
_FENCE = re.compile(r"\s*(?:```|~~~)")
_EDGE = re.compile(r"(?<!\\)\|")


def parse_markdown(text: str) -> str:
    """Return the text with the heads of long tables repeated, as GitHub's Markdown has them."""
    lines = text.split("\n")
    parts: list[str] = []
    at, in_code = 0, False
    while at < len(lines):
        in_code ^= bool(_FENCE.match(lines[at]))
        end = at + 1 if in_code else _table_end(lines, at)
        parts.append(_table(lines[at:end]))
        at = end
    return "\n".join(parts)


def _table_end(lines: Sequence[str], at: int) -> int:
    """Return where the table ends that begins there; behind the line where none does."""
    end = at + 1
    if "|" not in lines[at] or end == len(lines) or not _RULE.fullmatch(lines[end].strip()):
        return end
    while end < len(lines) and "|" in lines[end]:
        end += 1
    return end


def _table(lines: Sequence[str]) -> str:
    text = "\n".join(lines)
    if len(lines) == 1:
        return text
    # Filled up to the width of their columns the names would be too long to be repeated.
    names = [name.strip() for name in _EDGE.split(lines[0].strip().strip("|"))]
    head = [f"| {' | '.join(names)} |", f"|{'---|' * len(names)}"]
    repeated = repeat_header([*head, *lines[2:]], head=2)
    return repeated if "\n\n" in repeated else text
