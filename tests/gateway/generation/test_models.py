"""Which models a caller may name."""

from dataclasses import replace

import aiohttp
import pytest
from support import scope_of

from config.scope import Allowed, TenantScope
from config.targets import LadderSettings, ProviderSettings
from gateway.generation.models import Models
from rag.testing import InMemoryEmbedder

EVERYBODY = scope_of()


def limited_to(*models: str) -> TenantScope:
    return replace(EVERYBODY, allowed=Allowed(models=frozenset(models)))


@pytest.fixture
async def models() -> Models:
    """Aliases `default` and `smart`, and the provider `fake`."""
    async with aiohttp.ClientSession() as http:
        provider = ProviderSettings.model_validate({"base_url": "http://127.0.0.1:9/v1"})
        smart = LadderSettings.model_validate({"targets": ["fake/big"]})
        return Models({"smart": smart}, {"fake": provider}, {}, http, InMemoryEmbedder())


@pytest.mark.parametrize(
    ("caller", "aliases", "found"),
    [
        (EVERYBODY, ["default", "smart"], {"default", "smart", "fake/big", "fake/small"}),
        (limited_to("smart"), ["smart"], {"smart"}),
        (limited_to("fake/small"), [], {"fake/small"}),
        (limited_to("fake"), [], set()),
        (limited_to(), [], set()),
    ],
)
def test_only_the_allowed_ones_are_there(
    models: Models, caller: TenantScope, aliases: list[str], found: set[str]
) -> None:
    assert models.names(caller) == aliases
    names = ("default", "smart", "fake/big", "fake/small", "fake", "fake/", "other/x", "")
    assert {name for name in names if models.find(caller, name)} == found


def test_an_agent_uses_its_own_model_whoever_asks(models: Models) -> None:
    caller = limited_to()
    assert models.find(caller, "smart") is None
    assert models.find(caller.as_agent(frozenset()), "smart")
