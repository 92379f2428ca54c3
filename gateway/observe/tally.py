"""What metrics are made of: plain numbers, which cost a request a third of a microsecond each.

They are counted on the event loop alone; `gateway.observe.exposition` adds up those of all
processes.
"""

from bisect import bisect_left
from dataclasses import dataclass, field, replace
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
        counts = self.values.get(labels)
        if counts is None:
            counts = self.values[labels] = [0] * (len(self.bounds) + 2)
        counts[bisect_left(self.bounds, value)] += 1
        counts[-1] += value

    def emptied(self) -> Self:
        """Return the same, with nothing counted."""
        return replace(self, values={})


Metric = Counter | Gauge | Histogram
