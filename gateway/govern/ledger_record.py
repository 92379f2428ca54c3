"""A request's usage record: what the ledger keeps of it."""

import datetime as dt
from collections.abc import Sequence
from functools import lru_cache
from time import monotonic
from typing import Self

import msgspec

from gateway.govern.budgets_store import Booking
from gateway.govern.charge import Charge
from gateway.govern.journal_slots import ROOM, Left
from gateway.govern.prices import Rate
from gateway.openai.usage import TokenUsage

KILLED = "killed"
"""The ending of a request whose process ended without a word."""

_BYTES_A_TOKEN = 3
_LONGEST_NAME = 200
_SHORTEST_NAME = 40
_LONGEST_REASON = 300


class AttemptRecord(msgspec.Struct):
    """One target that was asked, and what it took; `cost` in US nano-dollars."""

    target: str
    place: str
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    estimated: bool
    cost: int | None


class Unsettled(msgspec.Struct, array_like=True):
    """What the last attempt costs, should nobody see its end: as `Attempt` has it.

    Attributes:
        rate: Of tokens asked, cached and said; None where time is what costs.
    """

    rate: tuple[int, int, int] | None
    reserved: int
    bookings: tuple[tuple[int, str], ...]


class _SoFar(msgspec.Struct, kw_only=True):
    """What a record tells that was not known from the beginning."""

    target: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    estimated: bool = False
    cost: int | None = None
    first_token_ms: float | None = None
    duration_ms: float | None = None
    ending: str = "open"
    fallback: str | None = None
    attempts: list[AttemptRecord] = []
    verdicts: dict[str, str] = {}
    bookings: list[Booking] = []
    unsettled: Unsettled | None = None


class _Opened(_SoFar, kw_only=True, omit_defaults=True):
    """The same of a request under way: short, for it is written more often than it is read."""


class UsageRecord(_SoFar, kw_only=True):
    """One request's record; its fields are columns of `usage_records`.

    Attributes:
        target: Who answered, or was asked last; empty where nobody was asked.
        cost: In US nano-dollars, as far as prices are known; None where none is, 0 where nobody
            was asked.
        fallback: Why earlier targets did not answer.
        bookings: Where the cost is booked; no column.
        unsettled: Of a request that is open; no column.
    """

    id: str
    tenant: str
    at: dt.datetime
    request_id: str
    client: str
    key: str | None
    end_user: str
    kind: str
    model: str
    agent_version: int | None
    stream: bool


class _Owner(msgspec.Struct):
    """What of a record must be known to ship it."""

    id: str
    tenant: str
    bookings: list[Booking] = []


class Ended(_Owner, kw_only=True):
    """The record of a request that has ended, as JSON, on its way into PostgreSQL."""

    text: bytes

    @classmethod
    def read(cls, text: bytes) -> Self:
        """Return a record that is there as JSON alone.

        Raises:
            msgspec.DecodeError: It is none.
        """
        owner = _owner_of(text)
        return cls(owner.id, owner.tenant, owner.bookings, text=text)


_encode = msgspec.json.Encoder().encode
_owner_of = msgspec.json.Decoder(_Owner).decode
_decode = msgspec.json.Decoder(UsageRecord).decode
_NOBODY_ASKED = b'"ending":"open"}'


def begun_text(charge: Charge) -> bytes:
    """Return how every text of a request's record begins; it never changes."""
    asked, scope = charge.asked, charge.scope
    begun = {
        "id": charge.id,
        "tenant": scope.tenant,
        "at": dt.datetime.fromtimestamp(charge.at, dt.UTC),
        "request_id": charge.exchange.request_id,
        "client": scope.client,
        "key": scope.key,
        "end_user": scope.end_user,
        "kind": asked.kind,
        "model": _short(asked.model, _LONGEST_NAME),
        "agent_version": charge.agent_version,
        "stream": asked.stream,
    }
    return _encode(begun)[:-1] + b","


def opened_text(charge: Charge, begun: bytes) -> bytes:
    """Return the record of a request that begins or asks another target, as JSON; not summed up.

    Should nobody count its tokens before the process is killed, they are estimated.
    """
    if not charge.attempts:
        return begun + _NOBODY_ASKED
    record = _so_far(charge, _Opened)
    last, attempt = record.attempts[-1], charge.attempts[-1]
    if not last.prompt_tokens:
        asked = charge.asked
        last.prompt_tokens = -(-asked.prompt_bytes // _BYTES_A_TOKEN) + asked.context_tokens
        last.estimated = True
    rate = attempt.rate
    if rate and attempt.cost is None:
        per_token = None if rate.gpu_second else (rate.input, rate.cached, rate.output)
        record.unsettled = Unsettled(per_token, attempt.reserved, attempt.bookings)
    return _fitting(begun, record)


def ended_record(charge: Charge, begun: bytes) -> Ended:
    """Return the record of a request that has ended."""
    record = _so_far(charge, _SoFar)
    _total(record)
    record.duration_ms = (monotonic() - charge.started) * 1000
    text = _fitting(begun, record)
    return Ended(charge.id, charge.scope.tenant, record.bookings, text=text)


def left_text(left: Left) -> bytes:
    """Return the record of what a killed process left, as JSON."""
    if left.ended:
        return left.text
    record = _decode(left.text)
    counted = left.counted
    if record.attempts and counted.total_tokens:
        last = record.attempts[-1]
        last.prompt_tokens = counted.prompt_tokens or last.prompt_tokens
        last.completion_tokens = counted.completion_tokens
        last.cached_tokens = counted.cached_tokens
        last.estimated = counted.estimated
    _price_lost(record, counted)
    _total(record)
    record.ending = KILLED
    return _encode(record)


def _so_far(charge: Charge, kind: type[_SoFar]) -> _SoFar:
    """Return what is known by now, but for the sums."""
    first, fallback, verdicts = charge.first_token_at, charge.fallback, charge.verdicts
    attempts: list[AttemptRecord] = []
    bookings: list[Booking] = []
    target = ""
    for each in charge.attempts:
        usage, cost = each.usage, each.cost
        target = _short(each.target, _LONGEST_NAME)
        attempts.append(
            AttemptRecord(
                target,
                each.place,
                usage.prompt_tokens,
                usage.completion_tokens,
                usage.cached_tokens,
                usage.estimated,
                cost,
            )
        )
        if cost:
            bookings += [Booking(period, lease, cost) for period, lease in each.bookings]
    return kind(
        target=target,
        first_token_ms=None if first is None else (first - charge.started) * 1000,
        ending=charge.ending,
        fallback=fallback and _short(fallback, _LONGEST_REASON),
        attempts=attempts,
        verdicts=verdicts and {name: _short(verdicts[name], _LONGEST_NAME) for name in verdicts},
        bookings=bookings,
    )


def _price_lost(record: UsageRecord, counted: TokenUsage) -> None:
    """Say what the last attempt of a killed process cost, and book it."""
    unsettled, record.unsettled = record.unsettled, None
    if unsettled is None or not record.attempts:
        return
    last = record.attempts[-1]
    if unsettled.rate and (counted.completion_tokens or not unsettled.reserved):
        usage = TokenUsage(last.prompt_tokens, last.completion_tokens, last.cached_tokens)
        last.cost = Rate(*unsettled.rate).of_usage(usage)
    else:
        # It may have done all that was asked of it.
        last.cost = unsettled.reserved
    record.bookings += [
        Booking(period, lease, last.cost) for period, lease in unsettled.bookings if last.cost
    ]


def _total(record: _SoFar) -> None:
    """Sum up what its attempts took; where nobody was asked, that is known to be nothing."""
    attempts = record.attempts
    if not attempts:
        record.cost = 0
        return
    summed = attempts[0] if len(attempts) == 1 else _summed(attempts)
    record.prompt_tokens = summed.prompt_tokens
    record.completion_tokens = summed.completion_tokens
    record.cached_tokens = summed.cached_tokens
    record.estimated, record.cost = summed.estimated, summed.cost


def _summed(attempts: Sequence[AttemptRecord]) -> AttemptRecord:
    """Return what attempts took, as if they were one."""
    summed = AttemptRecord(f"({len(attempts)} others)", "", 0, 0, 0, estimated=False, cost=None)
    for each in attempts:
        summed.prompt_tokens += each.prompt_tokens
        summed.completion_tokens += each.completion_tokens
        summed.cached_tokens += each.cached_tokens
        summed.estimated |= each.estimated
        if each.cost is not None:
            summed.cost = each.cost + (summed.cost or 0)
    return summed


def _fitting(begun: bytes, record: _SoFar) -> bytes:
    """Return the record as JSON that a slot has room for."""
    text = begun + _encode(record)[1:]
    return text if len(text) <= ROOM else _shortened(begun, record)


def _shortened(begun: bytes, record: _SoFar) -> bytes:
    record.attempts = _gathered(record.attempts)
    record.verdicts = {}
    text = begun + _encode(record)[1:]
    if len(text) > ROOM:
        record.fallback, record.target = None, ""
        for each in record.attempts:
            each.target = _short(each.target, _SHORTEST_NAME)
        text = begun + _encode(record)[1:]
    return text


def _gathered(attempts: Sequence[AttemptRecord]) -> list[AttemptRecord]:
    """Return the attempts before the last one as one, and the last one."""
    *earlier, last = attempts
    return [_summed(earlier), last] if earlier else [last]


@lru_cache(maxsize=1024)
def _short(text: str, limit: int) -> str:
    """Return the text's first bytes, without what would take six of JSON."""
    if len(text) <= limit and text.isascii() and text.isprintable():
        return text
    cut = text[:limit].encode("utf-8", "replace")[:limit].decode("utf-8", "ignore")
    return cut if cut.isprintable() else "".join(c if c.isprintable() else "?" for c in cut)
