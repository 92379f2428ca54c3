from hashlib import sha256

import pytest
from support import scope_of

from config.limits import LimitSettings, LimitsSettings
from config.scope import TenantScope
from gateway.govern.charge import Asked
from gateway.govern.limits_rules import (
    Amounts,
    Per,
    Rules,
    TenantRules,
    default_rules,
    demands,
    worst_case,
)


def rules(tenants: dict[str, TenantRules] | None = None, **defaults: LimitSettings) -> Rules:
    settings = LimitsSettings(**defaults)
    return Rules(
        default_rules(settings), tenants or {}, lambda name: sha256(name.encode()).digest()
    )


def caller(**fields: str) -> TenantScope:
    return TenantScope("acme", "app", frozenset(), **fields)


def told(found: Rules, scope: TenantScope, model: str = "m") -> dict[str, int]:
    return {limit.reason: limit.most for limit in found.of(scope, model)}


def amounts(**values: int) -> Amounts:
    return values  # type: ignore[return-value]


def test_without_a_rule_nobody_is_limited() -> None:
    assert rules().empty
    assert rules().of(caller(), "m") == ()
    assert not rules(client=LimitSettings(tokens_per_day=1)).empty
    found = rules({"rival": {("tenant", ""): amounts(tokens_per_day=1)}})
    assert not found.empty
    assert found.of(caller(), "m") == ()


@pytest.mark.parametrize(
    ("own", "most"),
    [
        ({}, 3),
        ({("client", ""): amounts(requests_per_minute=5)}, 5),
        ({("client", "other"): amounts(requests_per_minute=5)}, 3),
        ({("client", ""): amounts(requests_per_minute=5), ("client", "app"): {}}, None),
        ({("client", "app"): amounts(requests_per_minute=9)}, 9),
    ],
)
def test_the_most_particular_rule_counts(own: TenantRules, most: int | None) -> None:
    found = rules({"acme": own}, client=LimitSettings(requests_per_minute=3))
    assert told(found, caller()).get("client_requests_per_minute") == most


def test_every_kind_has_its_own() -> None:
    each = LimitSettings(concurrent_requests=1)
    found = rules(tenant=each, client=each, key=each, end_user=each, model=each)
    everyone = {f"{per}_concurrent_requests" for per in ("tenant", "client", "model")}
    assert set(told(found, caller())) == everyone
    known = caller(key="key-1", end_user="u")
    assert set(told(found, known)) == everyone | {
        "key_concurrent_requests",
        "end_user_concurrent_requests",
    }


@pytest.mark.parametrize(
    ("per", "one", "other", "same"),
    [
        ("tenant", caller(), TenantScope("acme", "b", frozenset()), True),
        ("client", caller(), TenantScope("acme", "b", frozenset()), False),
        ("client", caller(), TenantScope("rival", "app", frozenset()), False),
        ("client", caller(key="a"), caller(key="b"), True),
        ("key", caller(key="a"), caller(key="b"), False),
        ("end_user", caller(end_user="a"), caller(end_user="b"), False),
        (
            "end_user",
            caller(end_user="a"),
            TenantScope("acme", "b", frozenset(), end_user="a"),
            False,
        ),
        ("model", caller(), TenantScope("acme", "b", frozenset()), True),
        ("model", caller(), TenantScope("rival", "app", frozenset()), False),
    ],
)
def test_who_shares_a_counter(per: Per, one: TenantScope, other: TenantScope, same: bool) -> None:
    found = rules(**{per: LimitSettings(tokens_per_day=1)})
    (mine,), (theirs,) = found.of(one, "m"), found.of(other, "m")
    assert (mine.counter == theirs.counter) == same


def test_a_counter_names_nobody() -> None:
    found = rules(end_user=LimitSettings(tokens_per_day=1))
    (limit,) = found.of(caller(end_user="kim"), "m")
    assert limit.subject == "kim"
    assert limit.counter.startswith("naru:limits:")
    assert not {"kim", "acme", "app"} & set(limit.counter.split(":"))


def test_who_was_looked_up_is_known_again() -> None:
    found = rules(client=LimitSettings(tokens_per_day=1))
    assert found.of(caller(), "m") is found.of(caller(), "m")
    for number in range(10_001):
        found.of(caller(), str(number))
    assert len(found._resolved) <= 10_000


@pytest.mark.parametrize(
    ("asked", "tokens"),
    [
        (Asked("chat", "m", 30, 7), 17),
        (Asked("chat", "m", 31, 7), 18),
        (Asked("chat", "m", 30, 7, 3), 31),
        (Asked("chat", "m", 30), 1010),
        (Asked("chat", "m", 30, -5, -1), 11),
        (Asked("embeddings", "m", 30, 7), 10),
        (Asked("rerank", "m"), 1),
    ],
)
def test_what_is_reserved(asked: Asked, tokens: int) -> None:
    assert worst_case(asked, 1000) == tokens


def test_what_an_agent_adds_is_reserved_but_never_keeps_it_out() -> None:
    found = rules(client=LimitSettings(tokens_per_minute=100, tokens_per_day=1000))
    limits = found.of(caller(), "hr")

    def reserved(**asked: int) -> list[int]:
        agent = Asked("agent", "hr", prompt_bytes=30, **asked)
        return [amount for _, amount in demands(limits, agent, 20)]

    assert reserved() == [30, 30]
    assert reserved(context_tokens=500) == [100, 530]
    assert reserved(context_tokens=500, max_tokens=200) == [210, 710], "that is the caller's own"


def test_a_turn_is_counted_by_its_agent_and_its_model() -> None:
    names = {("model", name): amounts(requests_per_minute=5) for name in ("hr", "smart", "x")}
    found = rules({"acme": names})
    agent = Asked("agent", "hr", alias="smart")
    assert [limit.subject for limit in found.of(caller(), *agent.models)] == ["hr", "smart"]
    namesake = Asked("agent", "hr", alias="hr")
    assert [limit.subject for limit in found.of(caller(), *namesake.models)] == ["hr"]
    assert Asked("chat", "smart").models == ("smart",)


def test_a_stream_takes_more_places_than_a_whole_answer() -> None:
    found = rules(client=LimitSettings(concurrent_requests=2, concurrent_streams=1))
    limits = found.of(scope_of("acme", "app"), "m")
    for stream, count in ((False, 1), (True, 2)):
        assert len(demands(limits, Asked("chat", "m", stream=stream), 1)) == count
