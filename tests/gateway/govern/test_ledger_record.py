import datetime as dt

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.scope import TenantScope
from gateway.govern.budgets_store import Booking
from gateway.govern.charge import Asked, Charge, Place
from gateway.govern.journal_slots import ROOM, Left
from gateway.govern.ledger_record import (
    UsageRecord,
    begun_text,
    ended_record,
    left_text,
    opened_text,
)
from gateway.govern.prices import Rate
from gateway.openai.usage import TokenUsage

SCOPE = TenantScope("acme", "app", frozenset(), key="key-1", end_user="kim")
TEXT = st.text(st.characters(exclude_categories=()), max_size=300)


RATE = Rate(10**6, 10**6, 10**7)


def decoded(text: bytes) -> UsageRecord:
    return msgspec.json.decode(text, type=UsageRecord)


def charge(*, prompt_bytes: int = 0) -> Charge:
    asked = Asked("chat", "smart", prompt_bytes, stream=True)
    return Charge(SCOPE, asked, id="0" * 32, at=1_800_000_000.25)


def opened(asked: Charge) -> bytes:
    return opened_text(asked, begun_text(asked))


def ended(asked: Charge) -> bytes:
    return ended_record(asked, begun_text(asked)).text


def attempt(of: Charge, target: str, usage: TokenUsage, cost: int | None = None) -> None:
    place: Place = "hosted"
    made = of.attempt(target, place)
    made.usage, made.cost = usage, cost


def test_a_record_says_who_what_and_how_it_ended() -> None:
    asked = charge()
    attempt(asked, "a/x", TokenUsage(7, 0, 0), cost=70)
    attempt(asked, "b/y", TokenUsage(9, 5, 4, estimated=True), cost=None)
    asked.note_first_token()
    asked.fallback = "a/x: upstream_timeout"
    asked.verdicts["injection"] = "flagged"
    asked.end()
    record = decoded(ended(asked))
    assert record.at == dt.datetime(2027, 1, 15, 8, 0, 0, 250_000, dt.UTC)
    assert (record.tenant, record.client, record.key, record.end_user) == (
        *("acme", "app", "key-1", "kim"),
    )
    assert (record.kind, record.model, record.target) == ("chat", "smart", "b/y")
    assert (record.prompt_tokens, record.completion_tokens, record.cached_tokens) == (16, 5, 4)
    assert (record.estimated, record.cost, record.ending) == (True, 70, "completed")
    assert (record.fallback, record.verdicts) == (asked.fallback, {"injection": "flagged"})
    assert [each.target for each in record.attempts] == ["a/x", "b/y"]
    assert record.first_token_ms is not None
    assert record.duration_ms is not None
    assert 0 <= record.first_token_ms <= record.duration_ms


def test_without_a_price_no_cost_is_told() -> None:
    asked = charge()
    attempt(asked, "a/x", TokenUsage(7, 0, 0))
    assert decoded(ended(asked)).cost is None


def test_where_nobody_was_asked_nothing_was_spent() -> None:
    record = decoded(ended(charge()))
    assert (record.cost, record.prompt_tokens, record.target) == (0, 0, "")


def test_a_killed_request_took_what_was_counted() -> None:
    asked = charge(prompt_bytes=30)
    attempt(asked, "a/x", TokenUsage(7, 1, 0))
    asked.attempt("b/y", "hosted")
    text = opened(asked)
    killed = decoded(left_text(Left(text, ended=False, counted=TokenUsage(9, 5, 4))))
    assert (killed.ending, killed.id, killed.duration_ms) == ("killed", asked.id, None)
    assert (killed.prompt_tokens, killed.completion_tokens, killed.cached_tokens) == (16, 6, 4)


def test_a_killed_request_whose_tokens_nobody_told_is_estimated() -> None:
    asked = charge(prompt_bytes=31)
    nothing = TokenUsage()
    before = decoded(left_text(Left(opened(asked), ended=False, counted=nothing)))
    assert (before.prompt_tokens, before.estimated) == (0, False)
    asked.attempt("b/y", "hosted")
    text = opened(asked)
    asleep = decoded(left_text(Left(text, ended=False, counted=nothing)))
    assert (asleep.prompt_tokens, asleep.estimated) == (11, True)
    said = TokenUsage(0, 4, 0, estimated=True)
    talking = decoded(left_text(Left(text, ended=False, counted=said)))
    assert (talking.prompt_tokens, talking.completion_tokens) == (11, 4)


def test_a_killed_turn_is_estimated_by_what_its_last_model_was_asked() -> None:
    asked = Asked("agent", "hr", 30, alias="smart", context_tokens=100)
    turn = Charge(SCOPE, asked, agent_version=3)
    attempt(turn, "a/x", TokenUsage(7, 2, 0))
    turn.attempt("a/x", "hosted")
    text = opened(turn)
    asleep = decoded(left_text(Left(text, ended=False, counted=TokenUsage())))
    assert (asleep.kind, asleep.model, asleep.agent_version) == ("agent", "hr", 3)
    assert (asleep.prompt_tokens, asleep.completion_tokens, asleep.estimated) == (117, 2, True)
    said = TokenUsage(0, 4, 0, estimated=True)
    talking = decoded(left_text(Left(text, ended=False, counted=said)))
    assert (talking.prompt_tokens, talking.completion_tokens) == (117, 6)


def test_an_ended_request_stays_as_it_was_written() -> None:
    text = ended(charge())
    assert left_text(Left(text, ended=True, counted=TokenUsage(1, 1, 1))) == text


@given(st.lists(TEXT, max_size=30), TEXT, TEXT, TEXT)
def test_every_record_fits_and_its_sums_are_whole(
    targets: list[str], model: str, reason: str, verdict: str
) -> None:
    scope = TenantScope("t" * 64, "c" * 64, frozenset(), key="k" * 64, end_user='"' * 256)
    asked = Charge(scope, Asked("chat", model))
    asked.exchange.request_id = "r" * 128
    for target in targets:
        attempt(asked, target, TokenUsage(2**40, 2**41, 2**39), cost=2**50)
    asked.fallback = reason
    asked.verdicts = {"pii": verdict}
    text = ended(asked)
    assert len(text) <= ROOM
    assert b"\\u0000" not in text
    record = decoded(text)
    assert record.prompt_tokens == len(targets) * 2**40
    assert record.cost == len(targets) * 2**50
    assert sum(each.prompt_tokens for each in record.attempts) == record.prompt_tokens


def test_what_a_request_cost_is_booked() -> None:
    asked = charge()
    for said in (3, 0, 4):
        each = asked.attempt("a/x", "hosted", RATE, reserved=99, bookings=((1, "l"), (2, "m")))
        each.cost = said
    assert decoded(ended(asked)).bookings == [
        *(Booking(1, "l", 3), Booking(2, "m", 3)),
        *(Booking(1, "l", 4), Booking(2, "m", 4)),
    ]


@pytest.mark.parametrize(
    ("rate", "counted", "cost"),
    [
        (RATE, TokenUsage(9, 5, 4), 59),
        (RATE, TokenUsage(), 99),
        (Rate(gpu_second=1), TokenUsage(9, 5, 4), 99),
    ],
)
def test_a_killed_request_is_booked_with_what_it_may_have_cost(
    rate: Rate, counted: TokenUsage, cost: int
) -> None:
    asked = charge()
    asked.attempt("a/x", "hosted", rate, reserved=99, bookings=((1, "l"),))
    killed = decoded(left_text(Left(opened(asked), ended=False, counted=counted)))
    assert (killed.cost, killed.bookings, killed.unsettled) == (
        cost,
        [Booking(1, "l", cost)],
        None,
    )
