"""What hosted models cost, from the data file beside this."""

import importlib.resources
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

_DATE = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8})$")


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars for a million tokens.

    Attributes:
        cached: Of input that the provider had in its cache.
    """

    input: float
    cached: float
    output: float


def price_of(kind: str, model: str) -> Price | None:
    """Return the list price of a provider's model, or None where it is not known.

    Args:
        kind: `ProviderSettings.kind`.
        model: Its name at the provider; a date at its end makes no difference.
    """
    return _prices().get((kind, _DATE.sub("", model)))


def list_prices() -> Mapping[tuple[str, str], Price]:
    """Return every list price that is known, by the provider's kind and the model's name."""
    return _prices()


@cache
def _prices() -> Mapping[tuple[str, str], Price]:
    text = (importlib.resources.files("config") / "prices.toml").read_text(encoding="utf-8")
    return {
        (kind, model): Price(**price)
        for kind, models in tomllib.loads(text).items()
        for model, price in models.items()
    }
