"""Usage by groups, one by one, and against prices, over a real PostgreSQL."""

import datetime as dt
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import asyncpg
import pytest
from support import scope_of

from gateway.errors import InvalidRequest
from gateway.govern.charge import Asked, Charge, Kind, Place
from gateway.govern.ledger_record import Ended, begun_text, ended_record
from gateway.govern.ledger_store import LedgerStore
from gateway.govern.usage_export import as_csv
from gateway.govern.usage_report import RECORD, SUMS, Span, break_even, grouped, records, span_of
from gateway.openai.usage import TokenUsage

YEAR = Span("2026-01-01", "2027-01-01")


def record(at: str, tenant: str = "acme", **given: Any) -> Ended:
    kind: Kind = given.get("kind", "chat")
    place: Place = "hosted"
    charge = Charge(scope_of(tenant, given.get("client", "app")), Asked(kind, given["model"]))
    charge.at = dt.datetime.fromisoformat(at).timestamp()
    attempt = charge.attempt(given.get("target", "fake/x"), place)
    attempt.usage, attempt.cost = TokenUsage(1000, 100, 400), given.get("cost")
    charge.end(given.get("error"))
    return ended_record(charge, begun_text(charge))


@pytest.fixture
async def filled(pool: asyncpg.Pool, empty_database: str) -> asyncpg.Pool:
    store = LedgerStore(empty_database, dt.timedelta(days=1))
    old = [record("2026-03-01T12:00:00Z", model="smart", cost=5_000_000) for _ in range(2)]
    await store.add([*old, record("2026-03-01T12:00:00Z", "rival", model="smart")])
    await store.purge()
    await store.close()
    store = LedgerStore(empty_database, None)
    await store.add(
        [
            record("2026-05-01T14:59:59Z", model="smart", cost=1_000_000_000),
            record("2026-05-01T15:00:00Z", model="smart", client="other"),
            record("2026-05-02T01:00:00Z", model="hr", kind="agent", target="engine/small"),
            record("2026-05-02T01:00:00Z", "rival", model="smart"),
        ]
    )
    await store.close()
    return pool


def counts(rows: list[dict[str, Any]], *names: str) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in (*names, "requests")) for row in rows]


async def test_records_and_sums_of_days_that_are_over_are_counted_together(
    filled: asyncpg.Pool,
) -> None:
    (row,) = await grouped(filled, "acme", YEAR, ())
    assert row.pop("duration_ms") >= 0
    assert row == {
        "requests": 5,
        "prompt_tokens": 5000,
        "completion_tokens": 500,
        "cached_tokens": 2000,
        "cost_usd": 1.01,
        "priced_requests": 3,
        "estimated_requests": 0,
    }
    (row,) = await grouped(filled, "rival", YEAR, ())
    assert row["requests"] == 2
    (row,) = await grouped(filled, "nobody", YEAR, ())
    assert row["requests"] == 0


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("client", [("app", 4), ("other", 1)]),
        ("agent", [("", 4), ("hr", 1)]),
        ("ending", [("completed", 5)]),
        ("day", [("2026-03-01", 2), ("2026-05-01", 2), ("2026-05-02", 1)]),
    ],
)
async def test_groups(filled: asyncpg.Pool, by: str, expected: list[tuple[Any, ...]]) -> None:
    assert counts(await grouped(filled, "acme", YEAR, [by]), by) == expected


async def test_days_are_of_the_zone_that_is_named(filled: asyncpg.Pool) -> None:
    span = Span("2026-05-02", "2026-05-03", "Asia/Seoul")
    rows = await grouped(filled, "acme", span, ["day", "model"])
    assert counts(rows, "day", "model") == [("2026-05-02", "hr", 1), ("2026-05-02", "smart", 1)]


async def test_what_is_not_there_is_told(filled: asyncpg.Pool) -> None:
    with pytest.raises(InvalidRequest, match="timezone"):
        await grouped(filled, "acme", Span("2026-01-01", "2027-01-01", "Moon/Base"), ())
    with pytest.raises(InvalidRequest, match="group_by"):
        await grouped(filled, "acme", YEAR, ["tokens; DROP TABLE"])
    with pytest.raises(InvalidRequest, match="from"):
        span_of("yesterday", None, "UTC")
    with pytest.raises(InvalidRequest, match="after"):
        await records(filled, "acme", YEAR, after="x_y", limit=1)


async def test_every_record_is_on_one_page(filled: asyncpg.Pool) -> None:
    seen, after = [], None
    while True:
        page = await records(filled, "acme", YEAR, after=after, limit=1)
        seen += page.records
        after = page.after
        assert after is None or quote(after, safe=":") == after
        if after is None:
            break
    assert len(seen) == 3
    assert [b'"tenant":"acme"' in record for record in seen] == [True] * 3
    assert seen == (await records(filled, "acme", YEAR, after=None, limit=9)).records


async def test_a_place_of_before_still_counts(filled: asyncpg.Pool) -> None:
    page = await records(filled, "acme", YEAR, after=None, limit=1)
    assert page.after
    following = await records(filled, "acme", YEAR, after=page.after, limit=1)
    earlier = page.after.replace("Z_", "+00:00_")
    assert earlier != page.after
    assert await records(filled, "acme", YEAR, after=earlier, limit=1) == following


async def test_what_engines_took_against_hosted_models(filled: asyncpg.Pool) -> None:
    span = Span("2026-05-02T00:00:00Z", "2026-05-02T10:00:00Z")
    found = await break_even(filled, ["acme"], span, 2.0, engines=True)
    assert (found.requests, found.prompt_tokens, found.completion_tokens) == (1, 1000, 100)
    assert (round(found.hours, 6), round(found.usd, 6)) == (10.0, 20.0)
    mini = next(each for each in found.models if each.model == "openai/gpt-4o-mini")
    assert mini.usd == pytest.approx((600 * 0.15 + 400 * 0.075 + 100 * 0.60) / 1e6)
    assert mini.break_even_usd == pytest.approx(mini.usd / 10)
    assert not mini.ours_is_less
    both = await break_even(filled, ["acme", "rival"], YEAR, 1e-9, engines=False)
    assert both.requests == 7
    assert all(each.ours_is_less for each in both.models if each.usd > 1e-4)


def test_a_spreadsheet_computes_nothing_that_a_caller_wrote() -> None:
    row: Mapping[str, Any] = {"end_user": "=1+1", "tokens": -3, "attempts": [{"a": 1}]}
    assert as_csv([row], ()).splitlines() == [
        "end_user,tokens,attempts",
        '\'=1+1,-3,"[{""a"":1}]"',
    ]


async def test_the_head_of_no_rows_is_that_of_some(filled: asyncpg.Pool) -> None:
    sums = await grouped(filled, "acme", YEAR, ["model"])
    page = await records(filled, "acme", YEAR, after=None, limit=1)
    told = [json.loads(page.records[0])]
    assert as_csv([], ("model", *SUMS)).splitlines() == as_csv(sums, ()).splitlines()[:1]
    assert as_csv([], RECORD).splitlines() == as_csv(told, ()).splitlines()[:1]
