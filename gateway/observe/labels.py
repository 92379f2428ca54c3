"""Labels of metrics: few, and none that a caller could make up."""

import re
from collections.abc import Collection
from functools import lru_cache

from config.settings import Settings

_STATUS = re.compile(r"_([1-5])[0-9][0-9]$")


@lru_cache
def coarse(code: str) -> str:
    """Return an error's code with its HTTP status, if it has one, as a class: `…_5xx`."""
    return _STATUS.sub(r"_\1xx", code)


class Targets:
    """What targets are called in metrics; `named` are those of the settings."""

    def __init__(self, named: Collection[str]) -> None:
        self._named = frozenset(named)

    @classmethod
    def of(cls, settings: Settings) -> "Targets":
        """Return the names of what the settings have."""
        rungs = (rung.target for ladder in settings.models.values() for rung in ladder.targets)
        engines = (f"engine/{name}" for name in settings.engines)
        here = ("extractive", settings.embedding.name, *settings.embedding.others)
        given = ("openai/gpt-4o-mini",) if "openai" in settings.providers else ()
        return cls([*rungs, *engines, *here, *given, settings.reranker.name])

    def label(self, target: str) -> str:
        """Return a target's name; of one that a caller made up, only whose it is."""
        if target in self._named:
            return target
        provider, slash, _ = target.partition("/")
        return f"{provider}/*" if slash else "other"
