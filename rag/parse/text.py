"""Bytes to text, and text to what can be stored and read."""

import codecs
import re

_BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# Control characters that no text holds; tab, line feed, form feed and carriage return are left out.
_BINARY = re.compile(r"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
_BINARY_SHARE = 0.01

_LINE_END = re.compile(r"[ \t\u00a0]*(?:\r\n?|\n|\u2028|\u2029|\f)")
_BLANK_LINES = re.compile(r"\n{3,}")
_UNWANTED = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f\u200b\ufeff\ufffe\uffff\ud800-\udfff]")


def decode_text(data: bytes) -> str | None:
    """Return the text of a byte order mark's encoding, UTF-8 or cp949 (old Korean Windows).

    None when it is text in none of them.
    """
    for mark, encoding in _BOMS.items():
        if data.startswith(mark):
            return data.decode(encoding, "replace")
    for encoding in ("utf-8", "cp949"):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        return text if _looks_like_text(text) else None
    return None


def tidy(text: str) -> str:
    """Return text with plain line ends, at most one blank line, and nothing unprintable."""
    text = _LINE_END.sub("\n", text)
    return _BLANK_LINES.sub("\n\n", _UNWANTED.sub("", text)).strip("\n")


def _looks_like_text(text: str) -> bool:
    sample = text[:100_000]
    return len(_BINARY.findall(sample)) <= _BINARY_SHARE * len(sample)
