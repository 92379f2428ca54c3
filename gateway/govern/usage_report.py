"""What was used: a tenant's records by groups, one by one, and against the prices of others."""

import datetime as dt
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
import msgspec

from config.postgres import Connection, load_queries, tenant_transaction
from config.prices import list_prices
from gateway.errors import InvalidRequest

_SQL = load_queries("gateway.govern", "usage.sql")
_MOST_GROUPS = 10_000
_DOLLAR = 1_000_000_000
_MILLION = 1_000_000
_DAYS = 30
_KINDS = ("prompt", "completion", "cached")

_GROUPS = {
    "day": "day::text",
    "client": "client",
    "kind": "kind",
    "model": "model",
    "agent": "CASE WHEN kind = 'agent' THEN model ELSE '' END",
    "agent_version": "agent_version",
    "target": "target",
    "end_user": "end_user",
    "ending": "ending",
}
GROUPS = tuple(_GROUPS)
"""What usage can be grouped by."""

SUMS = (
    *("requests", "prompt_tokens", "completion_tokens", "cached_tokens"),
    *("priced_requests", "estimated_requests", "duration_ms", "cost_usd"),
)
"""What is told of each group."""

RECORD = (
    *("id", "tenant", "at", "request_id", "client", "key", "end_user", "kind", "model"),
    *("agent_version", "target", "stream", "prompt_tokens", "completion_tokens", "cached_tokens"),
    *("estimated", "cost", "first_token_ms", "duration_ms", "ending", "fallback", "attempts"),
    *("verdicts", "expires_at"),
)
"""What is told of each record."""


@dataclass(frozen=True, slots=True)
class Span:
    """Which records: of a time, and of those who are named.

    Attributes:
        since, until: As PostgreSQL reads them: a day, or a moment with or without a zone.
        timezone: The zone of days, and of moments that name none.
    """

    since: str
    until: str
    timezone: str = "UTC"
    client: str | None = None
    model: str | None = None
    target: str | None = None
    end_user: str | None = None
    ending: str | None = None

    @property
    def arguments(self) -> tuple[str | None, ...]:
        """Return the statements' parameters."""
        named = (self.client, self.model, self.target, self.end_user, self.ending)
        return (self.since, self.until, *named)


def span_of(since: str | None, until: str | None, timezone: str, **named: str | None) -> Span:
    """Return a span; by default the last 30 days.

    Raises:
        InvalidRequest: A time is none, or the span ends before it begins.
    """
    now = dt.datetime.now(dt.UTC)
    first = (now - dt.timedelta(days=_DAYS)).date().isoformat()
    last = (now + dt.timedelta(seconds=1)).isoformat()
    for name, given in (("from", since), ("to", until)):
        _check_time(name, given)
    if since and until and _is_after(since, until):
        raise InvalidRequest("to: give a time that is not before `from`", param="to")
    return Span(since or first, until or last, timezone, **named)


def _check_time(name: str, given: str | None) -> None:
    try:
        dt.datetime.fromisoformat(given or "2000-01-01")
    except ValueError:
        message = f"{name}: give a day (2026-11-26) or a moment (2026-11-26T08:00:00+09:00)"
        raise InvalidRequest(message, param=name) from None


def _is_after(since: str, until: str) -> bool:
    """Tell it of two days or local moments, or of two moments that say their zone."""
    begin, end = dt.datetime.fromisoformat(since), dt.datetime.fromisoformat(until)
    return (begin.tzinfo is None) == (end.tzinfo is None) and begin > end


@dataclass(frozen=True, slots=True)
class RecordPage:
    """Records as JSON, and where the next page begins; None on the last one."""

    records: list[bytes]
    after: str | None


async def grouped(
    pool: asyncpg.Pool, tenant: str, span: Span, by: Sequence[str], *, engines: bool = False
) -> list[dict[str, Any]]:
    """Return the sums of each group, `cost_usd` of the requests whose price is known.

    Raises:
        InvalidRequest: There is no such group or time zone, or there are too many groups.
    """
    for name in by:
        if name not in _GROUPS:
            message = f"group_by: `{name[:64]}` is none of {', '.join(GROUPS)}"
            raise InvalidRequest(message, param="group_by")
    groups = "".join(f"{_GROUPS[name]} AS {name}, " for name in by)
    places = ", ".join(str(place) for place in range(1, len(by) + 1))
    ending = f"GROUP BY {places} ORDER BY {places}" if by else ""
    query = _SQL["grouped"].format(groups=groups, grouped=ending)
    async with _reading(pool, tenant, span.timezone) as con:
        rows = await con.fetch(query, tenant, *span.arguments, engines, _MOST_GROUPS + 1)
    if len(rows) > _MOST_GROUPS:
        message = f"over {_MOST_GROUPS:,} groups: ask for a shorter time or fewer groups"
        raise InvalidRequest(message, param="group_by")
    return [_sums(dict(row)) for row in rows]


def _sums(row: dict[str, Any]) -> dict[str, Any]:
    cost = row.pop("cost")
    return {**row, "cost_usd": cost / _DOLLAR}


async def records(
    pool: asyncpg.Pool, tenant: str, span: Span, *, after: str | None, limit: int
) -> RecordPage:
    """Return up to `limit` records, the oldest first, from behind the place `after`.

    Raises:
        InvalidRequest: `after` is no place, or there is no such time zone.
    """
    moment, last = _place(after)
    async with _reading(pool, tenant, span.timezone) as con:
        rows = await con.fetch(_SQL["records"], tenant, *span.arguments, moment, last, limit + 1)
    kept = rows[:limit]
    following = _place_of(kept[-1]) if len(rows) > limit else None
    return RecordPage([row["record"].encode() for row in kept], following)


def _place_of(row: asyncpg.Record) -> str:
    """Return the place behind a record; in a query's `+00:00` the plus would be a space."""
    return f"{row['at'].isoformat().replace('+00:00', 'Z')}_{row['id']}"


def _place(after: str | None) -> tuple[dt.datetime | None, uuid.UUID | None]:
    if not after:
        return None, None
    moment, _, last = after.partition("_")
    try:
        return dt.datetime.fromisoformat(moment), uuid.UUID(last)
    except ValueError:
        raise InvalidRequest("after: send what the page before said", param="after") from None


class HostedCost(msgspec.Struct):
    """What the same tokens cost at somebody else's, and below which price of an hour ours is less.

    Attributes:
        break_even_usd: An hour of ours that costs this much costs the same.
    """

    model: str
    usd: float
    break_even_usd: float
    ours_is_less: bool


class BreakEven(msgspec.Struct):
    """What engines of ours took, against hosted models."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    requests: int
    hours: float
    gpu_hour_usd: float
    usd: float
    models: list[HostedCost]


async def break_even(
    pool: asyncpg.Pool, tenants: Sequence[str], span: Span, gpu_hour_usd: float, *, engines: bool
) -> BreakEven:
    """Return what the tenants' tokens would have cost elsewhere; `engines`: those of engines alone.

    An engine costs all hours of the span, up to now, whether it is asked or not.
    """
    sums: dict[str, int] = {}
    hours = 0.0
    for tenant in tenants:
        (row,) = await grouped(pool, tenant, span, (), engines=engines)
        for name, count in row.items():
            sums[name] = sums.get(name, 0) + count
        async with _reading(pool, tenant, span.timezone) as con:
            hours = max(float(await con.fetchval(_SQL["hours"], span.since, span.until)), 0.0)
    prompt, completion, cached = (sums[f"{kind}_tokens"] for kind in _KINDS)
    ours = hours * gpu_hour_usd
    models = [
        HostedCost(name, usd, usd / hours if hours else 0.0, ours < usd)
        for name, usd in sorted(
            _hosted(prompt, completion, cached).items(), key=lambda each: each[1]
        )
    ]
    return BreakEven(
        prompt, completion, cached, sums["requests"], hours, gpu_hour_usd, ours, models
    )


def _hosted(prompt: int, completion: int, cached: int) -> dict[str, float]:
    """Return what tokens cost at each hosted model that writes, in US dollars."""
    fresh = max(prompt - cached, 0)
    return {
        f"{kind}/{model}": (
            fresh * float(price.input)
            + cached * float(price.cached)
            + completion * float(price.output)
        )
        / _MILLION
        for (kind, model), price in list_prices().items()
        if price.output
    }


@asynccontextmanager
async def _reading(pool: asyncpg.Pool, tenant: str, timezone: str) -> AsyncIterator[Connection]:
    """Read a tenant's rows in a time zone.

    Raises:
        InvalidRequest: There is none of that name, or a time is none.
    """
    try:
        async with tenant_transaction(pool, tenant, snapshot=True) as con:
            await con.execute("SELECT set_config('TimeZone', $1, true)", timezone)
            yield con
    except asyncpg.InvalidParameterValueError:
        message = f"timezone: there is no `{timezone[:64]}`: give a name such as Asia/Seoul"
        raise InvalidRequest(message, param="timezone") from None
    except asyncpg.DataError:
        raise InvalidRequest("from, to: there is no such time", param="from") from None
