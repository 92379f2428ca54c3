"""`[n]` markers: kept only where they name a passage, renumbered in order of first use."""

import re

from gateway.openai.references import Reference
from rag import Passage

_MARKER = re.compile(r"[ \t]?\[(\d{1,3}(?:\s?,\s?\d{1,3})*)\]")
_UNFINISHED = re.compile(r"[ \t]?(?:\[[\d,\s]{0,20})?$")


class Citations:
    """Rewrites the markers of one answer as its text comes in, however it is split.

    With `keep_unknown` a marker that names no passage stays: it may be code.

    Attributes:
        cited: Indexes of the passages cited so far; the answer's `[1]` is the first of them.
        removed: How many markers named no passage.
    """

    def __init__(self, passages: int, *, keep_unknown: bool = False) -> None:
        self._passages = passages
        self._keep_unknown = keep_unknown
        self._held = ""
        self.cited: list[int] = []
        self.removed = 0

    def feed(self, text: str) -> str:
        """Take a part of the answer and return what of it is final."""
        text = self._held + text
        found = _UNFINISHED.search(text)
        cut = found.start() if found else len(text)
        self._held = text[cut:]
        return _MARKER.sub(self._rewrite, text[:cut])

    def finish(self) -> str:
        """Return the rest."""
        rest, self._held = self._held, ""
        return rest

    def _rewrite(self, found: re.Match[str]) -> str:
        numbers = [int(number) - 1 for number in found.group(1).split(",")]
        known = [number for number in numbers if 0 <= number < self._passages]
        if not known and self._keep_unknown:
            return found.group(0)
        self.removed += len(numbers) - len(known)
        self.cited += [n for n in dict.fromkeys(known) if n not in self.cited]
        lead = found.group(0)[: found.group(0).index("[")]
        markers = "".join(f"[{self.cited.index(number) + 1}]" for number in dict.fromkeys(known))
        return lead + markers if markers else ""


def reference(index: int, passage: Passage) -> Reference:
    """Return what `[index]` in an answer points to."""
    return Reference(
        index=index,
        source=passage.source,
        page=passage.page,
        content=passage.content,
        score=round(passage.score, 4),
        document_id=passage.document_id,
        chunk_id=passage.chunk_id,
        start=passage.start,
        end=passage.end,
    )
