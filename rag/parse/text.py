"""Bytes to text, and text to what can be stored and read."""

import codecs
import re
from collections.abc import Callable, Mapping

_BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# Control characters that no text holds; tab, line feed, form feed and carriage return are left out.
_BINARY = re.compile(r"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
_BINARY_SHARE = 0.01
_SAMPLE_CHARS = 100_000
_KS_X_1001 = 0xA1
_RARE_SHARE = 0.3
_WESTERN_SHARE = 0.2
_WESTERN_SIGNS = "‘’‚“”„‹›«»–—…•·€£¥¢§©®™°±²³¹¼½¾×÷¿¡†‡‰¶´¨\u00a0\u00ad"

_LINE_END = re.compile(r"[ \t\u00a0]*(?:\r\n?|\n|\u2028|\u2029|\f)")
_BLANK_LINES = re.compile(r"\n{3,}")
_UNWANTED = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f\u200b\ufeff\ufffe\uffff\ud800-\udfff]")


def decode_text(data: bytes) -> str | None:
    """Return the text of a byte order mark's encoding, UTF-8, cp949 or Windows-1252.

    Those two are old Korean and Western Windows. None when it is text in none of them.
    """
    for mark, encoding in _BOMS.items():
        if data.startswith(mark):
            return data.decode(encoding, "replace")
    for encoding, fits in _ENCODINGS.items():
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        sample = text[:_SAMPLE_CHARS]
        if _looks_like_text(sample) and fits(sample):
            return text
    return None


def _is_korean(sample: str) -> bool:
    """Tell Korean from Japanese or Johab, which decode as syllables that nobody writes.

    Those are what cp949 adds to KS X 1001: one of their two bytes is below 0xA1.
    """
    pairs = [character.encode("cp949") for character in sample if not character.isascii()]
    return sum(min(pair) < _KS_X_1001 for pair in pairs) <= _RARE_SHARE * len(pairs)


def _is_western(sample: str) -> bool:
    """Tell text with some accents and typographic signs: any bytes at all decode as something."""
    others = [character for character in sample if not character.isascii()]
    known = all(character.isalpha() or character in _WESTERN_SIGNS for character in others)
    return known and len(others) <= _WESTERN_SHARE * len(sample)


def tidy(text: str) -> str:
    """Return text with plain line ends, at most one blank line, and nothing unprintable."""
    text = _LINE_END.sub("\n", text)
    return _BLANK_LINES.sub("\n\n", _UNWANTED.sub("", text)).strip("\n")


def _looks_like_text(sample: str) -> bool:
    return len(_BINARY.findall(sample)) <= _BINARY_SHARE * len(sample)


_ENCODINGS: Mapping[str, Callable[[str], bool]] = {
    "utf-8": lambda _: True,
    "cp949": _is_korean,
    "cp1252": _is_western,
}
