"""The data file of prices."""

import pytest

from config.prices import Price, price_of


def test_a_model_has_a_price_whatever_its_date() -> None:
    plain = price_of("openai", "gpt-4o-mini")
    assert plain == Price(input=0.15, cached=0.075, output=0.60)
    assert price_of("openai", "gpt-4o-mini-2024-07-18") == plain
    assert price_of("anthropic", "claude-haiku-4-5-20251001") == price_of(
        "anthropic", "claude-haiku-4-5"
    )


@pytest.mark.parametrize(("kind", "model"), [("openai", "gpt-x"), ("ollama", "gpt-4o-mini")])
def test_what_is_not_listed_has_none(kind: str, model: str) -> None:
    assert price_of(kind, model) is None
