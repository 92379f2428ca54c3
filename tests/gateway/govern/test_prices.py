"""What answers cost, in integers."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.prices import PriceSettings
from config.targets import ProviderSettings
from gateway.govern.prices import FREE, Rate, Rates
from gateway.openai.usage import TokenUsage

TOKENS = st.integers(0, 10**7)
NANOS = st.integers(0, 10**12)
PROVIDERS = {
    "openai": ProviderSettings.model_validate({"kind": "openai"}),
    "cloud": ProviderSettings.model_validate({"base_url": "http://cloud/v1"}),
}


def settings(**prices: dict[str, object]) -> dict[str, PriceSettings]:
    return {name: PriceSettings.model_validate(price) for name, price in prices.items()}


@given(TOKENS, TOKENS, TOKENS, NANOS, NANOS, NANOS)
def test_a_cost_is_the_exact_one_rounded_up_once(
    asked: int, cached: int, said: int, per_input: int, per_cached: int, per_output: int
) -> None:
    rate = Rate(per_input, per_cached, per_output)
    cost = rate.of_usage(TokenUsage(asked, said, cached))
    from_cache = min(cached, asked)
    exact = Fraction(
        (asked - from_cache) * per_input + from_cache * per_cached + said * per_output, 10**6
    )
    assert exact <= cost < exact + 1
    assert cost <= rate.at_most(asked, said)


@given(NANOS, TOKENS, NANOS, NANOS, st.integers(1, 10**12))
def test_what_is_paid_for_costs_no_more_than_was_paid(
    amount: int, asked: int, per_input: int, per_cached: int, per_output: int
) -> None:
    rate = Rate(per_input, per_cached, per_output)
    tokens = rate.tokens_for(amount, asked)
    assert tokens is not None
    if tokens:
        assert rate.at_most(asked, tokens) <= amount
    assert rate.at_most(asked, tokens + 1) > amount or tokens == 0


@given(NANOS, st.integers(1, 10**12))
def test_a_time_that_is_paid_for_costs_no_more_than_was_paid(amount: int, per_s: int) -> None:
    rate = Rate(gpu_second=per_s)
    paid_ns = rate.ns_for(amount)
    assert paid_ns is not None
    assert rate.of_usage(TokenUsage(engine_ns=paid_ns)) <= amount


def test_where_a_price_comes_from() -> None:
    prices = settings(
        **{
            "openai/gpt-4o": {"input": 1, "cached": "0.5", "output": 2},
            "cloud/*": {"input": 3, "output": 4},
            "cloud/gift": {"free": True},
            "engine/qwen": {"gpu_second": "0.001"},
        }
    )
    rates = Rates(prices, PROVIDERS)
    assert rates.of("openai/gpt-4o") == Rate(10**9, 5 * 10**8, 2 * 10**9)
    mini = rates.of("openai/gpt-4o-mini-2024-07-18")
    assert mini
    assert (mini.input, mini.cached, mini.output) == (15 * 10**7, 75 * 10**6, 6 * 10**8)
    assert rates.of("cloud/any") == Rate(3 * 10**9, 3 * 10**9, 4 * 10**9)
    assert rates.of("cloud/gift") == FREE
    assert rates.of("engine/qwen") == rates.of("engine/qwen/adapter") == Rate(gpu_second=10**6)
    assert rates.of("extractive") == FREE


@pytest.mark.parametrize("target", ["engine/other", "openai/unheard-of", "nowhere/gpt-4o"])
def test_what_nobody_priced_has_no_rate(target: str) -> None:
    assert Rates({}, PROVIDERS).of(target) is None
