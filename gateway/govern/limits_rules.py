"""Which limits apply to a request: a tenant's rules, and the settings where it has none."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from config.limits import LimitsSettings
from config.scope import TenantScope
from gateway.govern.charge import Asked

Per = Literal["tenant", "client", "key", "end_user", "model"]
Measure = Literal[
    "requests_per_minute",
    "tokens_per_minute",
    "tokens_per_day",
    "concurrent_requests",
    "concurrent_streams",
]
PER: tuple[Per, ...] = get_args(Per)

_MINUTE_MS = 60_000
_DAY_MS = 86_400_000
_MOST_RESOLVED = 10_000


@dataclass(frozen=True, slots=True)
class Counting:
    """How a measure is counted.

    A sliding window is as many buckets as are needed and one more, so that it never spans less than
    its time: what may be taken over a long time is less than the limit by one part in `buckets`.

    Attributes:
        kind: `q`: requests in a window, `t`: tokens in a window, `c`: what is under way.
        words: For people.
        width_ms: Of a bucket.
        buckets: How many are as long as the window's time.
        grain_ms: How exactly the time is kept of what Redis is told later.
        span_ms: The time of the window.
    """

    kind: Literal["q", "t", "c"]
    words: str
    width_ms: int = 1
    buckets: int = 0
    grain_ms: int = field(init=False)
    span_ms: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "grain_ms", max(self.width_ms // 5, 1))
        object.__setattr__(self, "span_ms", self.width_ms * self.buckets)


COUNTING: Mapping[Measure, Counting] = {
    "requests_per_minute": Counting("q", "requests per minute", _MINUTE_MS // 120, 120),
    "tokens_per_minute": Counting("t", "tokens per minute", _MINUTE_MS // 120, 120),
    "tokens_per_day": Counting("t", "tokens per day", _DAY_MS // 288, 288),
    "concurrent_requests": Counting("c", "requests at a time"),
    "concurrent_streams": Counting("c", "streams at a time"),
}


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit that applies to a request.

    Attributes:
        subject: Whose it is, as messages call it.
        counter: Where it is counted; names nobody.
        counting: How it is counted.
    """

    per: Per
    subject: str
    measure: Measure
    most: int
    counter: str
    counting: Counting = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "counting", COUNTING[self.measure])

    @property
    def reason(self) -> str:
        """Return its name among the reasons to refuse a request."""
        return f"{self.per}_{self.measure}"


Demands = Iterable[tuple[Limit, int]]
"""The limits that apply to a request, and how much of each it may take."""

Amounts = Mapping[Measure, int]
TenantRules = Mapping[tuple[Per, str], Amounts]
"""What each may take, by kind and name; the name '' stands for everyone who has no rule."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Every rule there is, at one moment.

    Attributes:
        defaults: Of the settings.
        tenants: By tenant.
        pseudonym: Returns what stands for a name where it must not be known.
    """

    defaults: TenantRules
    tenants: Mapping[str, TenantRules]
    pseudonym: Callable[[str], bytes]
    _resolved: dict[tuple[str | None, ...], tuple[Limit, ...]] = field(
        default_factory=dict, repr=False
    )
    _by_default: bool = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_default", any(self.defaults.values()))

    @property
    def empty(self) -> bool:
        """Tell whether nobody is limited."""
        return not (self._by_default or self.tenants)

    def of(self, scope: TenantScope, *models: str) -> tuple[Limit, ...]:
        """Return the limits of a caller who asks for models, by their names."""
        if not (self._by_default or self.tenants.get(scope.tenant)):
            return ()
        asking = (scope.tenant, scope.client, scope.key, scope.end_user, *models)
        if (known := self._resolved.get(asking)) is not None:
            return known
        if len(self._resolved) >= _MOST_RESOLVED:
            self._resolved.clear()
        return self._resolved.setdefault(asking, tuple(self._resolve(scope, models)))

    def _resolve(self, scope: TenantScope, models: Sequence[str]) -> list[Limit]:
        names: list[tuple[Per, str | None]] = [
            ("tenant", scope.tenant),
            ("client", scope.client),
            ("key", scope.key),
            ("end_user", scope.end_user),
            *(("model", model) for model in models),
        ]
        return [
            Limit(per, name, measure, most, self._counter(scope, per, name, measure))
            for per, name in names
            if name
            for measure, most in self._amounts(scope.tenant, per, name).items()
        ]

    def _amounts(self, tenant: str, per: Per, name: str) -> Amounts:
        """Return what the most particular rule says: it takes the place of the others."""
        own = self.tenants.get(tenant, {})
        for rules, subject in ((own, name), (own, ""), (self.defaults, "")):
            if (found := rules.get((per, subject))) is not None:
                return found
        return {}

    def _counter(self, scope: TenantScope, per: Per, name: str, measure: Measure) -> str:
        within = scope.client if per == "end_user" else ""
        subject = self.pseudonym(json.dumps([scope.tenant, per, within, name])).hex()[:32]
        return f"naru:limits:{subject}:{measure}"


def default_rules(settings: LimitsSettings) -> TenantRules:
    """Return the rules of the settings."""
    return {(per, ""): amounts_of(getattr(settings, per).model_dump()) for per in PER}


def amounts_of(values: Mapping[str, int | None]) -> Amounts:
    """Return what is limited, of values by measure."""
    return {measure: most for measure in COUNTING if (most := values.get(measure)) is not None}


def demands(
    limits: Sequence[Limit], asked: Asked, assumed_answer_tokens: int
) -> Sequence[tuple[Limit, int]]:
    """Return how much of each limit a request may take at most, as far as is known before."""
    tokens = worst_case(asked, assumed_answer_tokens)
    taken = [
        (limit, tokens if limit.counting.kind == "t" else 1)
        for limit in limits
        if asked.stream or limit.measure != "concurrent_streams"
    ]
    return _with_context(taken, tokens + asked.context_tokens) if asked.context_tokens else taken


def _with_context(taken: Demands, tokens: int) -> list[tuple[Limit, int]]:
    """What an agent adds is not the caller's to shorten: it alone takes no more than there is."""
    return [
        (limit, max(amount, min(tokens, limit.most)) if limit.counting.kind == "t" else amount)
        for limit, amount in taken
    ]


def worst_case(asked: Asked, assumed_answer_tokens: int) -> int:
    """Return how many tokens are reserved: a third of the prompt's bytes, and the whole answer."""
    prompt = -(-asked.prompt_bytes // 3)
    if asked.kind in ("embeddings", "rerank"):
        return max(prompt, 1)
    answer = assumed_answer_tokens if asked.max_tokens is None else asked.max_tokens
    return prompt + max(answer, 1) * max(asked.choices, 1)
