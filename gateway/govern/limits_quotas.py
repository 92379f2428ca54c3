"""What a process lets in without asking, at once: a subject's limits together.

A request is held to a dozen limits or more. To go through all of them on its way in and on its way
out was a fifth of all that it took. So what the shares cover is taken of quotas: one number for all
of a subject's limits of a kind, that of the tightest one. What was taken is written to the shares,
and to what the process counts, before anybody looks at either, and every 100 ms.
"""

import math
from collections.abc import Iterator
from operator import itemgetter

import msgspec

from gateway.govern.limits_rules import COUNTING, Limit, Measure
from gateway.govern.limits_shares import Remaining, Shares
from gateway.govern.limits_window import Here

_PLENTY = 1 << 62
_MOST_KNOWN = 10_000
_MOST_UNWRITTEN = 128
_ROOM_OF: dict[Measure, str] = {
    "requests_per_minute": "requests",
    "tokens_per_minute": "tokens",
    "tokens_per_day": "tokens",
    "concurrent_requests": "concurrent",
    "concurrent_streams": "streams",
}
_GRAIN_MS = math.gcd(
    *(ms for how in COUNTING.values() if how.buckets for ms in (how.width_ms, how.grain_ms))
)
"""As exactly as any of them keeps the time."""


_Near = tuple[float, Limit, int, "Quota"]
"""How much of a limit is left, and what remains of it beyond what may be taken without asking."""


class Quota(msgspec.Struct, eq=False):
    """A subject's limits, and what may be taken of all of them without asking.

    Attributes:
        is_open: Whether that is known: nothing was written since.
        nearest: Of each kind the limit that is nearest to its end.
    """

    limits: tuple[Limit, ...]
    is_open: bool = False
    requests: int = _PLENTY
    tokens: int = _PLENTY
    concurrent: int = _PLENTY
    streams: int = _PLENTY
    nearest: dict[str, _Near] = {}


class Caller(msgspec.Struct, eq=False):
    """The quotas of one kind of request, and what was taken of all of them and is not written yet.

    Attributes:
        limits: Of all subjects.
        most_tokens: More is over one of the limits, however little was taken of it.
        requests: How many were let in.
        reserved: The tokens that they may take.
        concurrent: How many began, less those that ended.
        streams: As many, of streams.
        ended: Of those that ended, by when they were let in: the tokens that they took beyond what
            was reserved (mostly less than none), and those that they took.
        nearest: The limits of requests and of tokens that are nearest to their ends.
        looked_at: After how many writes that was found.
    """

    limits: tuple[Limit, ...]
    quotas: tuple[Quota, ...]
    most_tokens: int
    written: bool = True
    requests: int = 0
    reserved: int = 0
    concurrent: int = 0
    streams: int = 0
    ended: dict[int, list[int]] = {}
    nearest: tuple[_Near | None, _Near | None] = (None, None)
    looked_at: int = -1

    def begin_streams(self, count: int) -> None:
        """Take for streams that begin; less than none end."""
        self.streams += count
        for quota in self.quotas:
            quota.streams -= count

    def nearest_now(self) -> tuple[Remaining | None, Remaining | None]:
        """Return the limits that the caller is nearest to, of requests and of tokens."""
        at_requests, at_tokens = self.nearest
        requests = tokens = None
        if at_requests:
            _, limit, more, quota = at_requests
            requests = (limit, quota.requests + more, limit.counting.span_ms)
        if at_tokens:
            _, limit, more, quota = at_tokens
            tokens = (limit, quota.tokens + more, limit.counting.span_ms)
        return requests, tokens


class Taken(msgspec.Struct, eq=False):
    """What a request was let in with; it iterates as the demands that it meets."""

    caller: Caller
    tokens: int
    stream: bool

    def __iter__(self) -> Iterator[tuple[Limit, int]]:
        """Yield what was taken of each limit."""
        for limit in self.caller.limits:
            if self.stream or limit.measure != "concurrent_streams":
                yield limit, self.tokens if limit.counting.kind == "t" else 1


class Quotas:
    """All quotas of a process."""

    def __init__(self, shares: Shares, here: Here) -> None:
        self._shares = shares
        self._here = here
        shares.catch_up = here.catch_up = self.write
        self._known: dict[int, Caller] = {}
        self._quotas: dict[tuple[Limit, ...], Quota] = {}
        self._open: list[Quota] = []
        self._unwritten: list[Caller] = []
        self._at = 0
        self._writes = 0

    def take(
        self, limits: tuple[Limit, ...], tokens: int, context: int, at_ms: int, *, stream: bool
    ) -> Taken | None:
        """Let a request in by what the shares cover; None: they do not.

        The tokens of a `context` are taken as well, unless a limit could never cover them.
        """
        if (at := at_ms // _GRAIN_MS) != self._at:
            self.write()
            self._at = at
        caller = self._known.get(id(limits)) or self._of(limits)
        if context and (tokens := tokens + context) > caller.most_tokens:
            return None
        covered = self._covers(caller, tokens, stream=stream)
        if not covered and self._unwritten:
            # Some of it may have been given back meanwhile.
            self.write()
            covered = self._covers(caller, tokens, stream=stream)
        if not covered:
            return None
        for quota in caller.quotas:
            quota.requests -= 1
            quota.tokens -= tokens
            quota.concurrent -= 1
        caller.requests += 1
        caller.reserved += tokens
        caller.concurrent += 1
        if stream:
            caller.begin_streams(1)
        if caller.looked_at != self._writes:
            self._find_nearest(caller)
        if caller.written:
            self._note(caller)
        return Taken(caller, tokens, stream)

    def settle(self, taken: Taken, tokens: int, at_ms: int, now_ms: int) -> None:
        """Settle what was let in at `at_ms`, and Redis has not been told of."""
        caller, reserved = taken.caller, taken.tokens
        more = tokens - reserved
        for quota in caller.quotas:
            quota.tokens -= more
            quota.concurrent += 1
        caller.concurrent -= 1
        if taken.stream:
            caller.begin_streams(-1)
        if caller.written:
            self._note(caller)
        if more <= 0:
            _end(caller, at_ms // _GRAIN_MS, more, tokens)
        else:
            _end(caller, at_ms // _GRAIN_MS, 0, reserved)
            self.write()
            self._note(caller)
            _end(caller, now_ms // _GRAIN_MS, more, more)
            self.write()

    def write(self) -> None:
        """Write what was taken; the quotas have to be looked at anew."""
        self._writes += 1
        for quota in self._open:
            quota.is_open = False
        self._open.clear()
        unwritten, self._unwritten = self._unwritten, []
        for caller in unwritten:
            for limit in caller.limits:
                self._write(caller, limit)
            caller.requests = caller.reserved = caller.concurrent = caller.streams = 0
            caller.ended = {}
            caller.written = True

    def _covers(self, caller: Caller, tokens: int, *, stream: bool) -> bool:
        for quota in caller.quotas:
            if not (quota.is_open or self._opens(quota)):
                return False
            if quota.tokens < tokens or quota.requests < 1 or quota.concurrent < 1:
                return False
            if stream and quota.streams < 1:
                return False
        return True

    def _note(self, caller: Caller) -> None:
        if len(self._unwritten) >= _MOST_UNWRITTEN:
            self.write()  # or it would hold the event loop up when it comes
        caller.written = False
        self._unwritten.append(caller)

    def _write(self, caller: Caller, limit: Limit) -> None:
        at_ms, kind = self._at * _GRAIN_MS, limit.counting.kind
        if kind == "c":
            streams = limit.measure == "concurrent_streams"
            more = caller.streams if streams else caller.concurrent
            self._here.hold(limit, more)
            if more or not streams:
                self._shares.add(limit, more)
        elif kind == "q":
            if caller.requests:
                self._here.add(limit, caller.requests, at_ms)
                self._shares.add(limit, caller.requests, {at_ms: caller.requests})
        else:
            self._here.add(limit, caller.reserved, at_ms)
            more, spent = caller.reserved, {}
            for at, (beyond, took) in caller.ended.items():
                self._here.add(limit, beyond, at * _GRAIN_MS)
                more += beyond
                spent[at * _GRAIN_MS] = took
            self._shares.add(limit, more, spent)

    def _of(self, limits: tuple[Limit, ...]) -> Caller:
        """Return the quotas of a caller who was not known, perhaps since the rules have changed."""
        self.write()
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
            self._quotas.clear()
        subjects: dict[tuple[str, str], list[Limit]] = {}
        for limit in limits:
            subjects.setdefault((limit.per, limit.subject), []).append(limit)
        quotas = tuple(
            self._quotas.setdefault(tuple(each), Quota(tuple(each))) for each in subjects.values()
        )
        tokens = [limit.most for limit in limits if limit.counting.kind == "t"]
        made = self._known[id(limits)] = Caller(limits, quotas, min(tokens, default=_PLENTY))
        return made

    def _opens(self, quota: Quota) -> bool:
        """See how much may be taken; False: of some limit nobody knows."""
        room = dict.fromkeys(_ROOM_OF.values(), _PLENTY)
        nearest: dict[str, tuple[float, Limit, int]] = {}
        for limit in quota.limits:
            name = _ROOM_OF[limit.measure]
            looked = self._shares.look(limit)
            if looked is None and name != "streams":
                return False
            # Of streams it is none where nobody has begun any.
            free, remaining = looked or (0, limit.most)
            room[name] = min(room[name], free)
            near = (remaining / limit.most, limit, remaining)
            nearest[name] = min(nearest.get(name, near), near, key=itemgetter(0))
        quota.requests, quota.tokens = room["requests"], room["tokens"]
        quota.concurrent, quota.streams = room["concurrent"], room["streams"]
        quota.nearest = {
            name: (part, limit, remaining - room[name], quota)
            for name, (part, limit, remaining) in nearest.items()
        }
        quota.is_open = True
        self._open.append(quota)
        return True

    def _find_nearest(self, caller: Caller) -> None:
        """Until the next write they stay the nearest: what is taken is taken of all."""
        requests, tokens = (
            min(
                (quota.nearest[name] for quota in caller.quotas if name in quota.nearest),
                key=itemgetter(0),
                default=None,
            )
            for name in ("requests", "tokens")
        )
        caller.nearest = (requests, tokens)
        caller.looked_at = self._writes


def _end(caller: Caller, at: int, beyond: int, took: int) -> None:
    ended = caller.ended.get(at)
    if ended is None:
        caller.ended[at] = [beyond, took]
    else:
        ended[0] += beyond
        ended[1] += took
