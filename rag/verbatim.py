"""What stands word for word in a text, whatever its white space and the shape of its quotes."""

import re
import unicodedata
from dataclasses import dataclass

_QUOTED = re.compile(
    r'"([^"\n]{2,600})"|“([^”]{2,600})”|「([^」]{2,600})」|『([^』]{2,600})』|«([^»]{2,600})»|'
    r"„([^“”]{2,600})[“”]"
)
_GAP = re.compile(r"\[\s?(?:…|\.\.\.)\s?\]|…|\.\.\.|⋯")
_ENDS = " \t\n.,;:!?。、，"
_SHAPES = str.maketrans("’‘“”–—", "''\"\"--")


@dataclass(frozen=True, slots=True)
class Quoted:
    """A text between quotation marks, which stand at `start` and just before `end`."""

    text: str
    start: int
    end: int


def quoted(text: str) -> list[Quoted]:
    """Return what stands between quotation marks."""
    return [
        Quoted(next(filter(None, found.groups())), found.start(), found.end())
        for found in _QUOTED.finditer(text)
    ]


def find_verbatim(content: str, text: str) -> tuple[int, int] | None:
    """Return where `text` stands in `content`, from its first part to its last; None if not.

    White space, punctuation at its ends and the case of its first letter do not count; parts on
    both sides of an ellipsis must follow each other.
    """
    plain, places = _plain(content)
    at, first, last = 0, None, 0
    for part in _parts(text):
        found = _find(plain, part, at)
        if found < 0:
            return None
        first = found if first is None else first
        at = found + len(part)
        last = at - 1
    return None if first is None else (places[first], places[last] + 1)


def _parts(text: str) -> list[str]:
    parts = [_plain(part.strip(_ENDS))[0] for part in _GAP.split(text)]
    return [part for part in parts if part]


def _find(plain: str, part: str, at: int) -> int:
    found = plain.find(part, at)
    return found if found >= 0 else plain.find(part[0].swapcase() + part[1:], at)


def _plain(text: str) -> tuple[str, list[int]]:
    """Return the text without white space, and each character's place in it as it was."""
    kept, places = [], []
    for place, character in enumerate(text.translate(_SHAPES)):
        for shape in unicodedata.normalize("NFKC", character):
            if not shape.isspace():
                kept.append(shape)
                places.append(place)
    return "".join(kept), places
