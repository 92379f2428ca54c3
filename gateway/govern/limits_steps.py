"""Steps of `limits.lua`, as they are sent and answered; each part of one begins with a counter."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from gateway.govern.limits_rules import Counting, Demands

Part = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One step.

    Attributes:
        more: Of a settlement: it may have been taken before. Of who joins: how many ms it was away.
        at: When it was asked for.
    """

    verb: Literal["reserve", "count", "settle", "renew", "yield", "wanted", "join"]
    id: str
    parts: Sequence[Part]
    more: bool | int = False
    at: float = field(default_factory=time.monotonic)


@dataclass(slots=True, eq=False)
class Held:
    """A reservation under way.

    Attributes:
        buckets: Where Redis has counted it; None: it has not, for it was away.
        at: When it was made, by the process's clock.
        told: Redis is being told of it at this moment.
        taken: The tokens that it took, where it ended meanwhile.
    """

    id: str
    demands: Demands
    buckets: Sequence[int] | None
    at: float = field(default_factory=time.monotonic)
    told: bool = False
    taken: int | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """How a caller stands at one limit.

    Attributes:
        bucket: In which bucket of a window the request was counted.
        reset_ms: How long until all of it is free again, if nobody asks.
        share: What this process may let through without asking.
    """

    remaining: int
    bucket: int
    reset_ms: int
    share: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a reservation.

    Attributes:
        refusing: Place of the limit that refuses it; None: it is made.
        wait_ms: How long until that has room, at the latest; None: it never has so much.
        standings: At every limit.
        withheld: Nothing but what other processes may let through by themselves is in the way.
    """

    refusing: int | None
    wait_ms: int | None
    standings: Sequence[Standing]
    withheld: bool = False


@dataclass(frozen=True, slots=True)
class Past:
    """What was let in before, of a counter that Redis has forgotten."""

    counter: str
    counting: Counting
    age_ms: int
    amount: int


def reservation(id_: str, demands: Demands) -> Step:
    """Reserve at every counter or at none."""
    parts = [
        (limit.counter, how.kind, limit.most, amount, how.width_ms, how.buckets)
        for limit, amount in demands
        for how in (limit.counting,)
    ]
    return Step("reserve", id_, parts)


def counting(held: Held) -> Step:
    """Count who was let in while Redis was away, at the time when that was."""
    age_ms = int((time.monotonic() - held.at) * 1000)
    parts = [(*part, age_ms) for part in reservation(held.id, held.demands).parts]
    return Step("count", held.id, parts)


def counting_past(past: Past) -> Step:
    """Count what was settled before Redis forgot it."""
    how = past.counting
    part = (past.counter, "q", 0, past.amount, how.width_ms, how.buckets, past.age_ms)
    return Step("count", "", [part])


def settlement(held: Held, tokens: int) -> Step | None:
    """Say what a reservation has taken; who was let in while Redis was away counts now."""
    parts: list[Part] = []
    for place, (limit, reserved) in enumerate(held.demands):
        how = limit.counting
        if held.buckets is not None and how.kind == "q":
            continue
        counted = (0, 0) if held.buckets is None else (held.buckets[place], reserved)
        taken = tokens if how.kind == "t" else reserved
        parts.append((limit.counter, how.kind, how.width_ms, how.buckets, *counted, taken))
    return Step("settle", held.id, parts) if parts else None


def release(reserve: Step, standings: Sequence[Sequence[int]]) -> Step:
    """Settle a reservation that nobody waits for any more."""
    parts = [
        (key, kind, width, buckets, standing[1], amount, 0)
        for (key, kind, _, amount, width, buckets), standing in zip(
            reserve.parts, standings, strict=True
        )
    ]
    return Step("settle", reserve.id, parts)


def renewal(held: Held) -> Step | None:
    """Keep a reservation's leases; who was let in while Redis was away takes its place now."""
    buckets = held.buckets or [0] * len(held.demands)
    parts = [
        (limit.counter, limit.counting.kind, bucket, amount)
        for (limit, amount), bucket in zip(held.demands, buckets, strict=True)
        if limit.counting.kind == "c" or (limit.counting.kind == "t" and held.buckets)
    ]
    return Step("renew", held.id, parts) if parts else None


def still_counted(settle: Step, now: float) -> Step | None:
    """Return what of a late settlement is of a window that has not passed meanwhile."""
    late_ms = (now - settle.at) * 1000
    parts = [
        part
        for part in settle.parts
        for _, kind, width, buckets, *_ in (part,)
        if kind == "c" or late_ms < width * buckets
    ]
    return replace(settle, parts=parts) if parts else None
