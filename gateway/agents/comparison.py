"""Which version of an agent is liked better, and how sure that is."""

import math
from collections.abc import Sequence
from itertools import pairwise

import msgspec

from gateway.sessions.feedback import Tally

_Z95 = 1.959964


class VersionRating(msgspec.Struct, frozen=True):
    """A version's ratings; `share` found it good, with 95 % confidence between `low` and `high`."""

    version: int | None
    up: int
    down: int
    share: float
    low: float
    high: float


class Difference(msgspec.Struct, frozen=True):
    """How much larger the share of `version` is than that of `than`, with its 95 % interval.

    `significant` says that the interval leaves out 0.
    """

    version: int | None
    than: int | None
    difference: float
    low: float
    high: float
    significant: bool


class Comparison(msgspec.Struct, frozen=True):
    """An agent's versions side by side; each difference is to the version before it."""

    agent: str
    versions: list[VersionRating]
    differences: list[Difference]


def compare(agent: str, tallies: Sequence[Tally]) -> Comparison:
    """Return the ratings of an agent's versions with their confidence intervals."""
    versions = [_rating(tally) for tally in tallies]
    differences = [_difference(before, after) for before, after in pairwise(versions)]
    return Comparison(agent, versions, differences)


def wilson(up: int, total: int) -> tuple[float, float]:
    """Return the 95 % score interval of a proportion (Wilson 1927); all of [0, 1] for no case."""
    if not total:
        return 0.0, 1.0
    share, z2 = up / total, _Z95**2
    middle = share + z2 / (2 * total)
    spread = _Z95 * math.sqrt(share * (1 - share) / total + z2 / (4 * total**2))
    scale = 1 + z2 / total
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)


def _rating(tally: Tally) -> VersionRating:
    total = tally.up + tally.down
    low, high = wilson(tally.up, total)
    share = tally.up / total if total else 0.0
    return VersionRating(tally.version, tally.up, tally.down, share, low, high)


def _difference(before: VersionRating, after: VersionRating) -> Difference:
    """Return the difference of two proportions (Newcombe 1998, method 10)."""
    apart = after.share - before.share
    low = apart - math.hypot(after.share - after.low, before.high - before.share)
    high = apart + math.hypot(after.high - after.share, before.share - before.low)
    return Difference(after.version, before.version, apart, low, high, not low <= 0 <= high)
