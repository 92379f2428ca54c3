"""How good a ranking is. Pure functions, all 0 to 1."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from rag.eval.sets import Expected

_HALF = 0.5


@dataclass(frozen=True, slots=True)
class Found:
    """A passage as it was found; both legs' scores where the service tells them."""

    source: str
    page: int | None
    text: str
    lexical: float = 0.0
    similarity: float | None = None


Ranking = Sequence[Sequence[Expected]]
"""Per rank what is found there for the first time."""


def ranking(found: Sequence[Found], expected: Sequence[Expected]) -> list[list[Expected]]:
    """Return per rank what of the expected is found there first.

    Where whole documents are expected, a document has one rank: its best passage's.
    """
    if all(item.whole for item in expected):
        best: dict[str, Found] = {}
        for passage in found:
            best.setdefault(passage.source, passage)
        found = [*best.values()]
    left = [_Wanted(item) for item in expected]
    ranks: list[list[Expected]] = []
    for passage in found:
        here = [wanted for wanted in left if wanted.meets(passage)]
        left = [wanted for wanted in left if wanted not in here]
        ranks.append([wanted.item for wanted in here])
    return ranks


def recall(ranks: Ranking, expected: Sequence[Expected], k: int) -> float:
    """Return the share of the expected among the first `k`; Pass@k of the code set."""
    return sum(len(here) for here in ranks[:k]) / len(expected)


def ndcg(ranks: Ranking, expected: Sequence[Expected], k: int) -> float:
    """Return the normalised discounted cumulative gain with linear gains, as trec_eval does.

    One passage may hold several of the expected: more than the ideal counts as the ideal.
    """
    gains = [sum(item.grade for item in here) for here in ranks[:k]]
    ideal = sorted((item.grade for item in expected), reverse=True)[:k]
    return min(1.0, _discounted(gains) / _discounted(ideal))


def reciprocal_rank(ranks: Ranking) -> float:
    """Return 1 over the rank of the first that is right; 0 without one."""
    return next((1 / rank for rank, here in enumerate(ranks, start=1) if here), 0.0)


def right_page(found: Sequence[Found], expected: Sequence[Expected]) -> float | None:
    """Return 1 where the best passage is on an expected page, else 0; None where none is named."""
    pages = {(item.source, item.page) for item in expected if item.page is not None}
    if not pages:
        return None
    return float(bool(found) and (found[0].source, found[0].page) in pages)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share does not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _discounted(gains: Sequence[float]) -> float:
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, start=1))


class _Wanted:
    """Something expected, and how much of its text was seen so far."""

    def __init__(self, item: Expected) -> None:
        self.item = item
        self._contains = _plain(item.contains)
        self._lines = _lines(item.chunk)
        self._length = sum(map(len, self._lines))
        self._seen = 0

    def meets(self, passage: Found) -> bool:
        item = self.item
        if passage.source != item.source or item.page not in (None, passage.page):
            return False
        return self._contains in _plain(passage.text) and self._holds_half(passage.text)

    def _holds_half(self, text: str) -> bool:
        here = set(_lines(text))
        self._seen += sum(len(line) for line in self._lines if line in here)
        self._lines = [line for line in self._lines if line not in here]
        return self._seen >= _HALF * self._length


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text).casefold().strip()


def _lines(text: str) -> list[str]:
    return [plain for line in text.splitlines() if (plain := _plain(line))]
