"""What metrics are made of: plain numbers, which cost a request a third of a microsecond each.

They are counted on the event loop alone; `gateway.observe.exposition` adds up those of all
processes.
"""

import collections
from bisect import bisect_left
from collections.abc import ItemsView, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal, Self

Labels = tuple[str, ...]


@dataclass(slots=True)
class Counter:
    """Only grows; `name` is without `_total`."""

    name: str
    help: str
    labels: Labels = ()
    values: dict[Labels, float] = field(default_factory=dict)

    def add(self, *labels: str, by: float = 1) -> None:
        """Count something; `labels` in the order in which they were declared."""
        self.values[labels] = self.values.get(labels, 0) + by

    def emptied(self) -> Self:
        """Return the same, with nothing counted."""
        return replace(self, values={})


@dataclass(slots=True)
class Gauge:
    """How something is now; `merge` says what several processes are together."""

    name: str
    help: str
    labels: Labels = ()
    merge: Literal["sum", "max"] = "sum"
    values: dict[Labels, float] = field(default_factory=dict)

    def set(self, value: float, *labels: str) -> None:
        """Say how it is now."""
        self.values[labels] = value

    def add(self, by: float, *labels: str) -> None:
        """Say that it is more now, or less."""
        self.values[labels] = self.values.get(labels, 0) + by

    def emptied(self) -> Self:
        """Return the same, with nothing counted."""
        return replace(self, values={})


@dataclass(slots=True)
class Histogram:
    """How many were at most as large as each bound; the last number of each is their sum."""

    name: str
    help: str
    bounds: tuple[float, ...]
    labels: Labels = ()
    values: dict[Labels, list[float]] = field(default_factory=dict)

    def observe(self, value: float, *labels: str) -> None:
        """Count a value."""
        counts = self._counts(labels)
        counts[bisect_left(self.bounds, value)] += 1
        counts[-1] += value

    def observe_all(self, values: Sequence[float], *labels: str) -> None:
        """Count many values at once."""
        counts = self._counts(labels)
        for bucket, count in bucketed(self.bounds, values):
            counts[bucket] += count
        counts[-1] = sum(values, counts[-1])

    def emptied(self) -> Self:
        """Return the same, with nothing counted."""
        return replace(self, values={})

    def _counts(self, labels: Labels) -> list[float]:
        counts = self.values.get(labels)
        if counts is None:
            counts = self.values[labels] = [0] * (len(self.bounds) + 2)
        return counts


def bucketed(bounds: tuple[float, ...], values: Sequence[float]) -> ItemsView[int, int]:
    """Return how many values are in which bucket, counted in C."""
    return collections.Counter(map(partial(bisect_left, bounds), values)).items()


Metric = Counter | Gauge | Histogram
