"""What models cost: list prices from the data file beside this, and the prices of the settings."""

import importlib.resources
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Annotated, Any, Self

from pydantic import Field, StringConstraints, model_validator

from config.section import Section

_DATE = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8})$")

PricedName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]*/\S+$")]
"""A target, `PROVIDER/MODEL` or `engine/NAME`, or all of a provider's: `PROVIDER/*`."""

Dollars = Annotated[Decimal, Field(ge=0, max_digits=15, decimal_places=9)]


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars for a million tokens.

    Attributes:
        cached: Of input that the provider had in its cache.
        longest: How many tokens the model's longest answer has; None where that is not known.
        image: How many tokens one image is at most; None where that is not known.
    """

    input: Decimal
    cached: Decimal
    output: Decimal
    longest: int | None = None
    image: int | None = None


class PriceSettings(Section):
    """What a target costs: US dollars for a million tokens, for a second of a GPU, or nothing."""

    input: Dollars | None = None
    cached: Dollars | None = None
    """Of input that the target had in its cache; default what other input costs."""
    output: Dollars | None = None
    longest: int | None = Field(default=None, ge=1)
    """How many tokens the model's longest answer has."""
    image: int | None = Field(default=None, ge=1)
    """How many tokens one image is at most."""
    gpu_second: Dollars | None = None
    """Of an engine of ours: what a second costs in which one of its replicas computes, all of that
    replica's GPUs together. Requests that are computed at the same time share it."""
    free: bool = False
    """It costs nothing, and may be used whatever is left of a budget."""

    @model_validator(mode="after")
    def _in_one_way(self) -> Self:
        tokens = self.input is not None or self.output is not None
        if sum((tokens, self.gpu_second is not None, self.free)) != 1:
            raise ValueError("set input and output, or gpu_second, or free")
        if tokens and self.input is None:
            raise ValueError("set input too")
        if self.cached is not None and not tokens:
            raise ValueError("cached goes with input and output only")
        return self


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
        (kind, model): _read(price)
        for kind, models in tomllib.loads(text, parse_float=Decimal).items()
        for model, price in models.items()
    }


def _read(price: Mapping[str, Any]) -> Price:
    dollars = {name: Decimal(price[name]) for name in ("input", "cached", "output")}
    return Price(**dollars, longest=price.get("longest"), image=price.get("image"))
