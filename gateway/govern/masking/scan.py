"""Text that comes in parts, cut where personal data begins and ends.

However a text is cut into parts, the same is found. What is held back ends with the text, or is
what more text could still change: a number or a word that has not ended, and no more than `REACH`
characters of it.
"""

from gateway.govern.masking.columns import Columns
from gateway.govern.masking.detect import detect, undecided
from gateway.govern.masking.kinds import Kind
from gateway.govern.masking.normal import view
from gateway.govern.masking.rules import CONTEXT

Piece = tuple[str, Kind | None]
"""Text as it came, and which kind of personal data it is."""


class Scanner:
    """One text; `before` is what stands before it, such as a field's name."""

    def __init__(self, before: str = "") -> None:
        self._before = view(before).text[-CONTEXT:]
        self._held = ""
        self._columns = Columns()

    def push(self, text: str) -> list[Piece]:
        """Take a part; return what is decided by now."""
        self._held += text
        return self._decided(last=False)

    def finish(self) -> list[Piece]:
        """Return the rest."""
        return self._decided(last=True)

    def _decided(self, *, last: bool) -> list[Piece]:
        start, raw = len(self._before), self._before + self._held
        seen = view(raw)
        stop = len(seen.text) if last else undecided(seen.text, start)
        pieces, at = list[Piece](), start
        for found in detect(seen.text, start, stop, self._columns.over(seen.text, start)):
            first, end = seen.start(found.start), seen.end(found.end)
            if first > at:
                pieces.append((raw[at:first], None))
            pieces.append((raw[first:end], found.kind))
            at, stop = end, max(stop, found.end)
        end = len(raw) if last else max(at, seen.end(stop))
        if end > at:
            pieces.append((raw[at:end], None))
        self._columns.read(seen.text[start:stop])
        self._before, self._held = seen.text[:stop][-CONTEXT:], raw[end:]
        return pieces


def scan(text: str, before: str = "") -> list[Piece]:
    """Return the pieces of a whole text."""
    scanner = Scanner(before)
    return scanner.push(text) + scanner.finish()
