"""How well personal data is found: precision and recall of each kind on a test set."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway.govern.masking.kinds import Kind
from gateway.govern.masking.scan import scan

_HERE = Path(__file__).parent / "gateway/govern/masking"
Span = tuple[str, int, int]


@dataclass(slots=True)
class Figures:
    """What was found of one kind: exactly what and where it stands, else it counts as wrong."""

    right: int = 0
    wrong: int = 0
    missed: int = 0
    near_misses: int = 0

    @property
    def precision(self) -> float:
        return self.right / max(1, self.right + self.wrong)

    @property
    def recall(self) -> float:
        return self.right / max(1, self.right + self.missed)


def measured(name: str) -> dict[str, Figures]:
    """Return the figures of `cases`, `held_out`, `blind` or `columns` by kind."""
    figures = {str(kind): Figures() for kind in Kind}
    for line in (_HERE / f"{name}.jsonl").read_text(encoding="utf-8").splitlines():
        case = json.loads(line)
        there = {(each["type"], each["start"], each["end"]) for each in case["found"]}
        marked = found(case["text"])
        if not there:
            figures[case["set"]].near_misses += 1
        for kind, _, _ in there & marked:
            figures[kind].right += 1
        for kind, _, _ in there - marked:
            figures[kind].missed += 1
        for kind, _, _ in marked - there:
            figures[kind].wrong += 1
    return figures


def found(text: str) -> set[Span]:
    """Return what is found in a text."""
    return set(_spans(text))


def _spans(text: str) -> Iterator[Span]:
    at = 0
    for piece, kind in scan(text):
        if kind:
            yield str(kind), at, at + len(piece)
        at += len(piece)
