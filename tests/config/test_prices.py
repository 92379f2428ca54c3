"""The data file of prices."""

from decimal import Decimal

import pytest
from pydantic import ValidationError

from config.prices import PriceSettings, price_of


def test_a_model_has_a_price_whatever_its_date() -> None:
    plain = price_of("openai", "gpt-4o-mini")
    assert plain
    assert (plain.input, plain.cached) == (Decimal("0.15"), Decimal("0.075"))
    assert (plain.output, plain.longest) == (Decimal("0.60"), 16_384)
    assert price_of("openai", "gpt-4o-mini-2024-07-18") == plain
    assert price_of("anthropic", "claude-haiku-4-5-20251001") == price_of(
        "anthropic", "claude-haiku-4-5"
    )


@pytest.mark.parametrize(("kind", "model"), [("openai", "gpt-x"), ("ollama", "gpt-4o-mini")])
def test_what_is_not_listed_has_none(kind: str, model: str) -> None:
    assert price_of(kind, model) is None


@pytest.mark.parametrize(
    "price",
    [
        {},
        {"output": 1},
        {"input": 1, "free": True},
        {"input": 1, "gpu_second": 1},
        {"free": False},
        {"free": True, "cached": 1},
        {"input": -1},
        {"input": "0.0000000001"},
    ],
)
def test_a_price_that_says_nothing_or_two_things_is_refused(price: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        PriceSettings.model_validate(price)


def test_a_price_is_exact() -> None:
    price = PriceSettings.model_validate({"input": 0.1, "output": "0.3"})
    assert (price.input, price.output) == (Decimal("0.1"), Decimal("0.3"))
