"""Steps of `limits.lua`, as they are sent and answered; each part of one begins with a counter."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import msgspec

from gateway.govern.limits_rules import Counting, Demands, Limit

Part = tuple[Any, ...]
Spent = tuple[Limit, Mapping[int, int]]
"""What was taken of a limit for good, by its time in `grain_ms`."""


def now_ms() -> int:
    """Return the time by the process's clock, which is never set."""
    return time.monotonic_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Step:
    """One step.

    Attributes:
        more: Of a settlement: it may have been taken before. Of who joins: how many ms it was away.
            Of what may change shares it stands in `limits_script`.
        at: When it was asked for.
    """

    verb: Literal[
        "reserve", "spend", "count", "settle", "renew", "yield", "wanted", "join", "leave"
    ]
    id: str
    parts: Sequence[Part]
    more: bool | int = False
    at: float = field(default_factory=time.monotonic)


class Held(msgspec.Struct, eq=False):
    """A reservation under way.

    Attributes:
        buckets: Where Redis has counted it; None: it has not, it was let in without asking.
        here_ms: When this process counted it.
        at_ms: When it was made, by the process's clock.
        told: Redis is being told of it at this moment.
        taken: The tokens that it took, once it has ended.
    """

    id: str
    demands: Demands
    buckets: list[int] | None
    here_ms: int = 0
    at_ms: int = msgspec.field(default_factory=now_ms)
    told: bool = False
    taken: int | None = None

    @property
    def by_shares(self) -> bool:
        """Tell whether Redis counts it as taken of the process's shares, and not by itself."""
        return self.buckets is None and not self.told


class Standing(NamedTuple):
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
    return Step("reserve", id_, [_counted(limit, amount) for limit, amount in demands])


def _counted(limit: Limit, amount: int) -> Part:
    how = limit.counting
    return (limit.counter, how.kind, limit.most, amount, how.width_ms, how.buckets)


def counting(held: Held) -> Step:
    """Count who was let in without asking and is under way, at the time when that was.

    As a request it is counted by what was spent.
    """
    age_ms = now_ms() - held.at_ms
    parts = [(*part, age_ms) for part in reservation(held.id, held.demands).parts if part[1] != "q"]
    return Step("count", held.id, parts)


def spending(number: int, spent: Sequence[Spent]) -> Step:
    """Count what was let in without asking, by age; once, however often it is sent."""
    now = now_ms()
    parts = [
        (*_counted(limit, 0), [(amount, _age_ms(at, limit, now)) for at, amount in taken.items()])
        for limit, taken in spent
    ]
    return Step("spend", str(number), parts)


def _age_ms(at: int, limit: Limit, now: int) -> int:
    # Of when it began, nothing is sure: it leaves the window a little late, never early.
    return max(now - (at + 1) * limit.counting.grain_ms, 0)


def counting_past(past: Past) -> Step:
    """Count what was settled before Redis forgot it."""
    how = past.counting
    part = (past.counter, "q", 0, past.amount, how.width_ms, how.buckets, past.age_ms)
    return Step("count", "", [part])


def settlement(held: Held, tokens: int) -> Step | None:
    """Say what a reservation has taken that Redis has counted."""
    parts: list[Part] = []
    for (limit, reserved), bucket in zip(held.demands, held.buckets or (), strict=True):
        how = limit.counting
        if how.kind != "q":
            taken = tokens if how.kind == "t" else reserved
            parts.append(
                (limit.counter, how.kind, how.width_ms, how.buckets, bucket, reserved, taken)
            )
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


def renewal(held: Iterable[Held]) -> Step | None:
    """Keep the leases of reservations that Redis has counted; None where they have none."""
    leases: dict[tuple[str, str], list[tuple[str, int, int]]] = {}
    for each in held:
        for (limit, amount), bucket in zip(each.demands, each.buckets or (), strict=True):
            kind = limit.counting.kind
            if kind != "q":
                leases.setdefault((limit.counter, kind), []).append((each.id, bucket, amount))
    return Step("renew", "", [(*key, of) for key, of in leases.items()]) if leases else None


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
