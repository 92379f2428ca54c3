"""Which target a model's name means: an alias of the settings, or `provider/model`."""

from collections.abc import Mapping, Sequence

import aiohttp

from config.scope import TenantScope
from config.targets import LadderSettings, ProviderSettings
from gateway.generation import extractive
from gateway.generation.extractive import Extractive
from gateway.generation.hosted import Hosted
from gateway.generation.ladder import Ladder
from gateway.generation.target import Target
from rag import Embedder

DEFAULT_ALIAS = "default"
_OPENAI_DEFAULT = "openai/gpt-4o-mini"


class Models:
    """Aliases and providers, resolved to targets.

    The alias `default` exists always: unless the settings name its ladder, it is OpenAI's small
    model where that provider is configured, with the extractive engine as the last rung.
    """

    def __init__(
        self,
        aliases: Mapping[str, LadderSettings],
        providers: Mapping[str, ProviderSettings],
        http: aiohttp.ClientSession,
        embedder: Embedder,
    ) -> None:
        self._providers = providers
        self._http = http
        self._extractive = Extractive(embedder)
        named = {DEFAULT_ALIAS: _default_ladder(providers)} | {
            alias: [rung.target for rung in ladder.targets] for alias, ladder in aliases.items()
        }
        self._aliases = {
            alias: Ladder(alias, [self._target(name) for name in ladder])
            for alias, ladder in named.items()
        }

    def names(self, scope: TenantScope) -> list[str]:
        """Return the aliases the caller may use, sorted."""
        return sorted(name for name in self._aliases if _may_use(scope, name))

    def find(self, scope: TenantScope, name: str) -> Target | None:
        """Return the target that `name` means, or None when there is none for this caller."""
        if not _may_use(scope, name):
            return None
        if alias := self._aliases.get(name):
            return alias
        provider, _, model = name.partition("/")
        if model and provider in self._providers:
            return self._target(name)
        return None

    def _target(self, name: str) -> Target:
        if name == extractive.NAME:
            return self._extractive
        provider, _, model = name.partition("/")
        return Hosted(self._http, provider, self._providers[provider], model)


def _may_use(scope: TenantScope, name: str) -> bool:
    return scope.allowed.models is None or name in scope.allowed.models


def _default_ladder(providers: Mapping[str, ProviderSettings]) -> Sequence[str]:
    return [_OPENAI_DEFAULT, extractive.NAME] if "openai" in providers else [extractive.NAME]
