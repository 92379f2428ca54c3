"""What a target's answers cost, in integers: nano-dollars, of which a dollar has 10^9."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from config.prices import Price, PriceSettings, price_of
from config.targets import ProviderSettings
from gateway.openai.usage import TokenUsage

NANO = 10**9
"""Nano-dollars of a dollar."""

_PER = 10**6
_NS = 10**9


@dataclass(frozen=True, slots=True)
class Rate:
    """What a target costs.

    Attributes:
        input: Nano-dollars for a million tokens asked.
        cached: The same, of those that the target had in its cache.
        output: The same, of tokens said.
        gpu_second: Nano-dollars for a second of an engine's replica.
        longest: How many tokens its longest answer has, where that is known.
        image: How many tokens one image is at most, where that is known.
    """

    input: int = 0
    cached: int = 0
    output: int = 0
    gpu_second: int = 0
    longest: int | None = None
    image: int | None = None

    @property
    def free(self) -> bool:
        """Tell whether nothing it does costs anything."""
        return not (self.input or self.cached or self.output or self.gpu_second)

    def of_usage(self, usage: TokenUsage) -> int:
        """Return what an answer cost in nano-dollars: its tokens and its time, each rounded up."""
        asked = usage.prompt_tokens
        cached = min(usage.cached_tokens, asked)
        tokens = (asked - cached) * self.input + cached * self.cached
        cost = -(-(tokens + usage.completion_tokens * self.output) // _PER)
        return cost + self._of_time(usage.engine_ns) if self.gpu_second else cost

    def at_most(self, prompt_tokens: int, answer_tokens: int, engine_ns: int = 0) -> int:
        """Return what an answer of these lengths costs at most."""
        asked = prompt_tokens * max(self.input, self.cached)
        cost = -(-(asked + answer_tokens * self.output) // _PER)
        return cost + self._of_time(engine_ns) if self.gpu_second else cost

    def tokens_for(self, amount: int, prompt_tokens: int) -> int | None:
        """Return how many tokens of an answer `amount` pays for; None where they cost nothing."""
        if not self.output:
            return None
        left = amount * _PER - prompt_tokens * max(self.input, self.cached)
        return max(left // self.output, 0)

    def ns_for(self, amount: int) -> int | None:
        """Return how many nanoseconds of a replica `amount` pays for; None where they are free."""
        return amount * _NS // self.gpu_second if self.gpu_second else None

    def _of_time(self, engine_ns: int) -> int:
        return -(-engine_ns * self.gpu_second // _NS)


FREE = Rate()


class Rates:
    """The rates of every target: those of the settings, else the list's."""

    def __init__(
        self, prices: Mapping[str, PriceSettings], providers: Mapping[str, ProviderSettings]
    ) -> None:
        self._prices = prices
        self._providers = providers

    def of(self, target: str) -> Rate | None:
        """Return a target's rate; None where nobody said what it costs."""
        if "/" not in target:
            return FREE  # this process itself
        for name in _names(target):
            if name in self._prices:
                return _of_settings(self._prices[name])
        provider, _, model = target.partition("/")
        listed = provider in self._providers and price_of(self._providers[provider].kind, model)
        return _of_list(listed) if listed else None


def dollars(amount: int) -> Decimal:
    """Return nano-dollars as dollars."""
    return Decimal(amount) / NANO


def nanos(amount: Decimal) -> int:
    """Return dollars, of nine decimal places at most, as nano-dollars."""
    return int(amount * NANO)


def _names(target: str) -> list[str]:
    """Return under which names a price counts for a target, the narrowest first."""
    provider, _, model = target.partition("/")
    engine = [f"engine/{model.partition('/')[0]}"] if provider == "engine" else []
    return [target, *engine, f"{provider}/*"]


def _of_settings(price: PriceSettings) -> Rate:
    asked = price.input or Decimal(0)
    return Rate(
        input=nanos(asked),
        cached=nanos(asked if price.cached is None else price.cached),
        output=nanos(price.output or Decimal(0)),
        gpu_second=nanos(price.gpu_second or Decimal(0)),
        longest=price.longest,
        image=price.image,
    )


def _of_list(price: Price) -> Rate:
    per_token = (nanos(price.input), nanos(price.cached), nanos(price.output))
    return Rate(*per_token, longest=price.longest, image=price.image)
