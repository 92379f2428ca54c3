"""Which target a model's name means: an alias of the settings, or `provider/model`."""

import math
from collections import OrderedDict
from collections.abc import Container, Mapping, Sequence

from config.scope import TenantScope
from config.targets import LadderSettings, ProviderSettings
from gateway.errors import NotFound
from gateway.generation import extractive
from gateway.generation.allowance import Terms
from gateway.generation.cached import Cached
from gateway.generation.discreet import Discreet
from gateway.generation.engine import Engine
from gateway.generation.extractive import Extractive
from gateway.generation.governed import Governed
from gateway.generation.guarded import Guarded
from gateway.generation.hosted import Hosted
from gateway.generation.http1 import HttpClient
from gateway.generation.judging import Judging
from gateway.generation.ladder import Ladder, Policy, Rung
from gateway.generation.masked import Masked
from gateway.generation.metered import Metered
from gateway.generation.replicas import Replicas
from gateway.generation.target import Target
from gateway.govern.governor import Governor
from gateway.govern.masking.masking import Masking
from gateway.observe import metrics
from rag import Embedder

DEFAULT_ALIAS = "default"
_OPENAI_DEFAULT = "openai/gpt-4o-mini"
_MOST_UNNAMED = 1_000
# Their newer models refuse `max_tokens`; other servers may not know anything else.
_NEWEST = ("openai", "azure")


class Models:
    """Aliases, engines and providers, resolved to targets.

    Every engine is an alias of its own name, with the extractive engine as the last rung, unless
    the settings say what that alias means. `default` exists always: unless the settings name its
    ladder, it is the first engine, OpenAI's small model where that provider is configured, and the
    extractive engine.

    Attributes:
        judging: Asks those of them that guardrails ask.
    """

    def __init__(
        self,
        aliases: Mapping[str, LadderSettings],
        providers: Mapping[str, ProviderSettings],
        engines: Mapping[str, Replicas],
        http: HttpClient,
        embedder: Embedder,
        governor: Governor,
        masking: Masking,
    ) -> None:
        self._providers = providers
        self._engines = engines
        self._http = http
        self._governor = governor
        self._money = governor.money
        self._masking = masking
        self._extractive = Extractive(embedder)
        self.judging = Judging(governor.guardrails, masking, self._named)
        self._rungs: dict[str, Rung] = {}
        self._unnamed: OrderedDict[str, Ladder] = OrderedDict()
        policies = masking.policies
        # Layers that would change nothing, whoever asks, are left out.
        self._masks = not policies.allow_all("egress")
        self._hides = self._masks or not policies.allow_all("answer")
        self._guards = governor.guardrails.any
        named = {**_given_ladders(providers, engines), **aliases}
        policies.lead({alias: [r.target for r in each.targets] for alias, each in named.items()})
        self._aliases = {alias: self._ladder(alias, each) for alias, each in named.items()}
        self._cached = self._behind_cache(aliases)

    def names(self, scope: TenantScope) -> list[str]:
        """Return the aliases the caller may use, sorted."""
        return sorted(name for name in self._aliases if scope.may_use_model(name))

    def has_alias(self, name: str) -> bool:
        """Tell whether an alias has this name, whoever may use it."""
        return name in self._aliases

    def find(self, scope: TenantScope, name: str) -> Target | None:
        """Return the target that `name` means, or None when there is none for this caller."""
        if not scope.may_use_model(name):
            return None
        target: Target | None = self._cached.get(name) or self._named(name)
        if target is None:
            return None
        governor = self._governor
        if self._hides:
            target = Discreet(target, scope, self._masking)
        if self._guards:
            target = Guarded(target, scope, governor.guardrails, self._masking, self.judging)
        return Governed(target, scope, governor)

    @property
    def usable(self) -> bool:
        """Whether a target of any alias can be asked at the moment."""
        return any(rung.usable for rung in self._rungs.values())

    def look(self) -> None:
        """Set the gauges of targets that can't be asked."""
        for name, rung in self._rungs.items():
            metrics.TARGET_RESTS.set(0 if rung.usable else 1, name)

    def speaks(self, name: str) -> bool:
        """Tell whether a language model is among what `name` means."""
        ladder = self._named(name)
        return ladder is not None and ladder.speaks

    def _named(self, name: str) -> Ladder | None:
        return self._aliases.get(name) or self._provider_model(name)

    def _behind_cache(self, aliases: Mapping[str, LadderSettings]) -> dict[str, Cached]:
        """Return the aliases whose answers are kept."""
        if (cache := self._governor.cache) is None:
            return {}
        kept = ((name, each.cache_ttl_s) for name, each in aliases.items())
        return {name: Cached(self._aliases[name], cache, ttl_s) for name, ttl_s in kept if ttl_s}

    def _ladder(self, alias: str, settings: LadderSettings) -> Ladder:
        rungs = [self._rung(rung.target) for rung in settings.targets]
        policy = Policy(
            weights=[rung.weight for rung in settings.targets],
            local_only=settings.residency == "local",
            first_token_s=settings.ttft_objective_s,
            continuation=settings.continuation,
        )
        return Ladder(alias, rungs, policy)

    def _rung(self, name: str) -> Rung:
        """Return the one target of that name: aliases share what is known of its health."""
        return self._rungs.get(name) or self._rungs.setdefault(name, self._made(name))

    def _made(self, name: str) -> Rung:
        rung = Metered(self._target(name), self._money, self._terms(name))
        return Masked(rung, self._masking) if self._masks and rung.place == "hosted" else rung

    def _terms(self, name: str) -> Terms:
        """Return what asking a target costs, and how it is kept to that."""
        rate, assumed = self._money.rates.of(name), self._money.assumed
        provider, _, rest = name.partition("/")
        if provider == "engine":
            engine = self._engines[rest.partition("/")[0]]
            return Terms(rate, assumed, timeout_ns=math.ceil(engine.total_timeout_s * 10**9))
        newest = provider in self._providers and self._providers[provider].kind in _NEWEST
        return Terms(rate, assumed, "max_completion_tokens" if newest else "max_tokens")

    def _target(self, name: str) -> Rung:
        if name == extractive.NAME:
            return self._extractive
        kind, _, rest = name.partition("/")
        if kind == "engine":
            engine, _, adapter = rest.partition("/")
            return Engine(self._engines[engine], adapter)
        return Hosted(self._http, kind, self._providers[kind], rest)

    def _provider_model(self, name: str) -> Ladder | None:
        """Return a ladder of one rung; those of names that callers make up are forgotten again."""
        provider, _, model = name.partition("/")
        if not model or provider not in self._providers:
            return None
        ladder = self._unnamed.get(name)
        if ladder is None:
            ladder = Ladder(name, [self._rungs.get(name) or self._made(name)])
            self._unnamed[name] = ladder
        self._unnamed.move_to_end(name)
        if len(self._unnamed) > _MOST_UNNAMED:
            self._unnamed.popitem(last=False)
        return ladder


def is_configured(
    name: str,
    aliases: Container[str],
    providers: Container[str],
    engines: Container[str],
) -> bool:
    """Tell whether the settings have a model of that name: for who opens none of them."""
    provider, _, model = name.partition("/")
    known = name == DEFAULT_ALIAS or name in aliases or name in engines
    return known or bool(model and provider in providers)


def unknown_model(name: str) -> NotFound:
    """Return the error for a model that the caller can't use."""
    return NotFound(
        f"the model `{name[:128]}` does not exist here: `GET /v1/models` lists what does, and "
        "`provider/model` reaches a configured provider",
        param="model",
        code="model_not_found",
    )


def _given_ladders(
    providers: Mapping[str, ProviderSettings], engines: Mapping[str, Replicas]
) -> dict[str, LadderSettings]:
    ladders = {name: _of([f"engine/{name}", extractive.NAME]) for name in engines}
    first = [f"engine/{name}" for name in list(engines)[:1]]
    hosted = [_OPENAI_DEFAULT] if "openai" in providers else []
    return ladders | {DEFAULT_ALIAS: _of([*first, *hosted, extractive.NAME])}


def _of(targets: Sequence[str]) -> LadderSettings:
    return LadderSettings.model_validate({"targets": targets})
