"""Text as guardrails read it: composed, in plain characters, nothing invisible, cut in windows."""

import re
import unicodedata
from collections.abc import Iterator

from gateway.govern.masking.normal import view
from gateway.govern.masking.threads import Turns

WINDOW = 2_048
"""How many characters a window has at most, beside those it shares with the one before."""
SHARED = 512
"""What may be found is no longer than this, so that one window has all of it."""

_SPACES = re.compile(r"\s+")
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
