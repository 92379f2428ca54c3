r"""Text as detectors read it: one kind of digit, hyphen, dot and space, nothing invisible.

What is escaped (`\n`, `\u00a0`: JSON within text, a traceback) is no letter beside a number.

Every character of it stands for one of the original, so that what is found can be cut out there.
"""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

_SPACES = "\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"
_HYPHENS = "\u2010-\u2015\u2043\u2212\u2500\u30fc\u3161\ufe58\ufe63"
_DOTS = "\u00b7\u2022\u2024\u2027\u2219\u22c5\u3002\u30fb\u318d\uff65"
_MARKS = "\u00b2\u00b3\u00b9\u2074-\u2079\u2460-\u2468\u2474-\u247c\u2776-\u277e"
"""Digits that count what follows, such as \u2460, or a note, such as \u00b9."""

_DIGITS = (
    "\u0660-\u0669\u06f0-\u06f9\u0966-\u096f\u0e50-\u0e59\u2070\u2080-\u2089\u24ea"
    f"\U0001d7ce-\U0001d7ff{_MARKS}"
)
_FULL_WIDTH = "\uff01-\uff5e"
_LOOKALIKES = re.compile(f"[{_SPACES}{_HYPHENS}{_DOTS}{_DIGITS}{_FULL_WIDTH}\ufe6b]")
_UNSEEN = (
    "\u00ad\u0300-\u036f\u061c\u115f\u1160\u180b-\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u20e3\u3164\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e01ef"
)
_INVISIBLE = re.compile(f"[{_UNSEEN}]+")
_MOST_INVISIBLE = 32
"""Longest run of invisible characters that is looked through: it bounds what is held back."""

_BROKEN = "\ufffd"
"""Stands for each invisible character of a longer run."""

_SEPARATOR = "\x1f"
"""Stands for each character of what is escaped, and for a mark before a number."""

_BEFORE_A_NUMBER = re.compile(
    rf"[{_MARKS}](?<![0-9\uff10-\uff19{_DIGITS}{_UNSEEN}{_BROKEN}].)(?=[0-9\uff10-\uff19])",
    re.DOTALL,
)
"""A mark that is no digit of a number, as it would be behind another one."""

_ESCAPED = re.compile(r"\\+(?:[nrtbf]|x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4})")


@dataclass(frozen=True, slots=True)
class View:
    """A text as detectors read it, and where its characters stand in the original."""

    text: str
    _kept_before: Sequence[int] = ()

    def start(self, index: int) -> int:
        """Return where the character at `index` stands in the original."""
        return index + bisect_right(self._kept_before, index)

    def end(self, index: int) -> int:
        """Return where the character before `index` ends in the original."""
        return self.start(index - 1) + 1 if index else 0


def view(text: str) -> View:
    """Return a text as detectors read it. What is such a text already stays as it is."""
    if "\\" in text:
        text = _ESCAPED.sub(_separated, text)
    if text.isascii():
        return View(text)
    plain = _LOOKALIKES.sub(_in_ascii, _BEFORE_A_NUMBER.sub(_SEPARATOR, text))
    if not _INVISIBLE.search(plain):
        return View(plain)
    parts, kept_before, at, kept = list[str](), list[int](), 0, 0
    for run in _INVISIBLE.finditer(plain):
        parts.append(plain[at : run.start()])
        kept += run.start() - at
        at = run.end()
        # A run may have begun in what was read before, which ends with the mark of a long one.
        if len(run[0]) > _MOST_INVISIBLE or plain[run.start() - 1 : run.start()] == _BROKEN:
            parts.append(_BROKEN * len(run[0]))
            kept += len(run[0])
        else:
            kept_before += [kept] * len(run[0])
    return View("".join([*parts, plain[at:]]), kept_before)


def _separated(found: re.Match[str]) -> str:
    return _SEPARATOR * len(found[0])


def _in_ascii(found: re.Match[str]) -> str:
    return _plain(found[0])


@cache
def _plain(character: str) -> str:
    if "\uff01" <= character <= "\uff5e":
        return chr(ord(character) - 0xFEE0)
    digit = unicodedata.digit(character, None)
    if digit is not None:
        return str(digit)
    for characters, plain in ((_SPACES, " "), (_HYPHENS, "-"), (_DOTS, ".")):
        if re.match(f"[{characters}]", character):
            return plain
    return "@"
