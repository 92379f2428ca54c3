"""Numbers of many requests that are counted at once: a sum in C costs each of them next to nothing.

All of them are counted before anybody reads the metrics.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence

from gateway.observe.tally import Labels

Row = tuple[float, ...]
AT_ONCE = 256
"""As many rows are counted early, so that they never become a burden."""

_batches: list["Batch"] = []


class Batch:
    """Rows by their labels, which are few; `count` is given all that have the same.

    A module makes one, for good.
    """

    def __init__(self, count: Callable[[Labels, Sequence[Row]], None]) -> None:
        self._count = count
        self._rows: defaultdict[Labels, list[Row]] = defaultdict(list)
        _batches.append(self)

    def add(self, labels: Labels, row: Row) -> None:
        """Keep a row until it is counted."""
        rows = self._rows[labels]
        rows.append(row)
        if len(rows) >= AT_ONCE:
            self._count(labels, self._rows.pop(labels))

    def flush(self) -> None:
        """Count what is kept."""
        while self._rows:
            self._count(*self._rows.popitem())


def flush_batches() -> None:
    """Count what all batches of this process keep."""
    for batch in _batches:
        batch.flush()
