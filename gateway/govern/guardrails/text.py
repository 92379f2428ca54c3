"""Text as guardrails read it: composed, in plain characters, nothing invisible, cut in windows."""

import re
import unicodedata
from collections.abc import Iterator, Sequence

from gateway.govern.masking.normal import view
from gateway.govern.masking.threads import Turns

WINDOW = 2_048
"""How many characters a window has at most, beside those it shares with the one before."""
SHARED = 512
"""What may be found is no longer than this, so that one window has all of it."""

_LATIN = str.maketrans(
    # Cyrillic; then Greek, and letters of phonetics.
    "аеорсухіјѕһԁԛԝӏкмнтвгпАВЕКМНОРСТУХІЈЅԌԚԜӀαεγηικνορςτυχωΑΒΕΖΗΙΚΜΝΟΡΤΥΧıɡɑ",
    "aeopcyxijshdqwlkmhtbrnabekmhopctyxijsgqwi" + "aeynikvopctuxwabezhikmnoptyxiga",
)
_LIKE_LATIN = re.compile("[\u0131\u0251\u0261\u0370-\u03ff\u0400-\u052f]")
_SPACES = re.compile(r"\s+")
_APART = re.compile(r"(?<![^\W_])[^\W\d_](?:[\W_]{1,4}[^\W\d_](?![^\W_])){2,}")
_BETWEEN = re.compile(r"[\W_]+")
_MOST_JOINED = 64


def windows(text: str, between: Turns) -> Iterator[str]:
    """Yield the text, plain, window by window; pauses between some."""
    before, at = "", 0
    while at < len(text):
        end = _end(text, at + WINDOW)
        window = before + _plain(text[at:end])
        yield window
        between(end - at)
        before, at = window[-SHARED:], end


def latin(window: str) -> str:
    """Return a window with the Latin letters that Greek and Cyrillic ones look like, all small."""
    return window.translate(_LATIN) if _LIKE_LATIN.search(window) else window


def together(window: str) -> tuple[str, Sequence[range]]:
    """Return a window in which letters that stand apart, three or more, are words; and where.

    What separates them is up to four characters, so that where words end is not told from it.
    """
    parts: list[str] = []
    words: list[range] = []
    size = at = 0
    for found in _APART.finditer(window):
        word = _BETWEEN.sub("", found[0])
        parts += (window[at : found.start()], word)
        size += found.start() - at + len(word)
        words.append(range(size - len(word), size))
        at = found.end()
    return "".join([*parts, window[at:]]), words


def _plain(text: str) -> str:
    if not text.isascii():
        # A long run of invisible characters leaves marks, which are no characters either.
        text = view(unicodedata.normalize("NFKC", text)).text.replace("\ufffd", "")
    return _SPACES.sub(" ", text)


def _end(text: str, end: int) -> int:
    """Return where to cut: not before what joins the character in front of it."""
    last = min(len(text), end + _MOST_JOINED)
    while end < last and (unicodedata.combining(text[end]) or "\u1160" <= text[end] <= "\u11ff"):
        end += 1
    return min(end, len(text))
