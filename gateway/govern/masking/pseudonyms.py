"""Stand-ins for personal data, which say its kind and nothing else, and the way back.

A pseudonym is `PII_` + kind + `_` + 14 consonants, 60 bits of an HMAC: nobody guesses one without
the key, and no text holds one by chance.
"""

import hashlib
import hmac
import itertools
import re
from collections.abc import Mapping

import msgspec

from gateway.govern.masking.kinds import Kind

_CONSONANTS = "BCDFGHJKLMNPQRSTVWXZ"
_LETTERS = 14
_SHAPE = re.compile(rf"PII\\?_[A-Z]{{4,9}}\\?_[{_CONSONANTS}]{{{_LETTERS}}}", re.IGNORECASE)
"""Models may write it small, and Markdown puts a backslash before an underscore."""

_BEGUN = re.compile(
    r"P(?:I(?:I(?:\\?_?|\\?_[A-Z]{1,9}\\?|\\?_[A-Z]{4,9}\\?_[A-Z]{0,13}))?)?\Z", re.IGNORECASE
)
_LONGEST = 3 + 2 + 9 + 2 + _LETTERS


class Pseudonyms:
    """The stand-ins of one request. The same text has the same one, whatever else there is.

    Attributes:
        originals: What each of them stands for.
    """

    def __init__(self, key: bytes, given: str) -> None:
        """`given` is all that the request says: what looks like a pseudonym there is not used."""
        self._key = key
        self._taken = {_name(found[0]) for found in _SHAPE.finditer(given)}
        self._used = dict[tuple[Kind, str], str]()
        self.originals = dict[str, str]()

    def of(self, kind: Kind, text: str) -> str:
        """Return what stands for `text`."""
        if known := self._used.get((kind, text)):
            return known
        drawn = (self._drawn(kind, text, turn) for turn in itertools.count())
        pseudonym = next(each for each in drawn if each not in self._taken)
        self._taken.add(pseudonym)
        self._used[kind, text] = pseudonym
        self.originals[pseudonym] = text
        return pseudonym

    def _drawn(self, kind: Kind, text: str, turn: int) -> str:
        said = f"{kind}\0{turn}\0{text}".encode("utf-8", "surrogatepass")
        number = int.from_bytes(hmac.digest(self._key, said, hashlib.sha256), "big")
        letters = ""
        for _ in range(_LETTERS):
            number, place = divmod(number, len(_CONSONANTS))
            letters += _CONSONANTS[place]
        return f"PII_{kind.label}_{letters}"


class Restorer:
    """One text in parts, with originals where pseudonyms stand; others stay.

    Holds back what may be the beginning of one, under 30 characters. `in_json` writes originals as
    the inside of a JSON string.
    """

    def __init__(self, originals: Mapping[str, str], *, in_json: bool = False) -> None:
        self._originals = originals
        self._in_json = in_json
        self._held = ""

    def push(self, text: str) -> str:
        """Return what is decided with this part."""
        text = self._held + text
        done, at = list[str](), 0
        for found in _SHAPE.finditer(text):
            done += [text[at : found.start()], self._original(found[0])]
            at = found.end()
        rest = text[at:]
        begun = _BEGUN.search(rest, max(0, len(rest) - _LONGEST))
        end = begun.start() if begun else len(rest)
        self._held = rest[end:]
        return "".join([*done, rest[:end]])

    def finish(self) -> str:
        """Return what was held back."""
        held, self._held = self._held, ""
        return held

    def _original(self, written: str) -> str:
        original = self._originals.get(_name(written))
        if original is None:
            return written
        return msgspec.json.encode(original)[1:-1].decode() if self._in_json else original


def _name(written: str) -> str:
    return written.replace("\\", "").upper()
