"""Which models a caller may name."""

from dataclasses import replace
from typing import Any
from unittest.mock import Mock

import pytest
from support import scope_of

from config.guardrails import GuardrailSettings
from config.masking import MaskingSettings
from config.scope import Allowed, TenantScope
from config.settings import EngineSettings
from config.targets import LadderSettings, ProviderSettings
from gateway.generation.cached import Cached
from gateway.generation.discreet import Discreet
from gateway.generation.governed import Governed
from gateway.generation.guarded import Guarded
from gateway.generation.http1 import HttpClient
from gateway.generation.ladder import Ladder
from gateway.generation.masked import Masked
from gateway.generation.metered import Metered
from gateway.generation.models import Models
from gateway.generation.replicas import Replicas
from gateway.govern.cache import ResponseCache
from gateway.govern.governor import Governor
from gateway.govern.guardrails.guardrails import Guardrails
from gateway.govern.masking.masking import Masking
from rag.testing import InMemoryEmbedder

EVERYBODY = scope_of()
MASKING = Masking(MaskingSettings())


def limited_to(*models: str) -> TenantScope:
    return replace(EVERYBODY, allowed=Allowed(models=frozenset(models)))


def layers_of(models: Models, name: str) -> list[Any]:
    """Return what a caller is given, from the outside to the rungs."""
    layers: list[Any] = [models.find(EVERYBODY, name)]
    while not isinstance(layers[-1], Ladder):
        layers.append(layers[-1]._ladder)
    return [*layers, *layers[-1]._rungs]


def ladder_of(models: Models, name: str) -> Ladder:
    return next(layer for layer in layers_of(models, name) if isinstance(layer, Ladder))


@pytest.fixture
async def models() -> Models:
    """Aliases `default` and `smart`, and the provider `fake`."""
    async with HttpClient() as http:
        provider = ProviderSettings.model_validate({"base_url": "http://127.0.0.1:9/v1"})
        smart = LadderSettings.model_validate({"targets": ["fake/big"]})
        return Models(
            {"smart": smart}, {"fake": provider}, {}, http, InMemoryEmbedder(), Governor(), MASKING
        )


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


async def test_every_engine_is_an_alias_and_the_first_one_the_default() -> None:
    engines = {
        name: Replicas(name, EngineSettings(model=name), [], b"k") for name in ("qwen", "llama")
    }
    openai = ProviderSettings.model_validate({"kind": "openai", "api_key": "sk"})
    mine = LadderSettings.model_validate({"targets": ["openai/gpt", "engine/qwen/adapter"]})
    async with HttpClient() as http:
        models = Models(
            {"llama": mine},
            {"openai": openai},
            engines,
            http,
            InMemoryEmbedder(),
            Governor(),
            MASKING,
        )
    assert models.names(EVERYBODY) == ["default", "llama", "qwen"]

    def rungs(name: str) -> list[str]:
        return [rung.name for rung in ladder_of(models, name)._rungs]

    assert rungs("qwen") == ["engine/qwen", "extractive"]
    assert rungs("default") == ["engine/qwen", "openai/gpt-4o-mini", "extractive"]
    assert rungs("llama") == ["openai/gpt", "engine/qwen/adapter"]
    assert models.find(EVERYBODY, "engine/qwen") is None
    accepting = [models.find(EVERYBODY, name) for name in ("qwen", "llama", "openai/any")]
    assert [bool(target and target.accepts_unknown) for target in accepting] == [False, False, True]


async def test_what_is_known_of_a_target_is_shared_and_bounded() -> None:
    provider = ProviderSettings.model_validate({"base_url": "http://127.0.0.1:9/v1"})
    two = LadderSettings.model_validate({"targets": ["fake/a"]})
    async with HttpClient() as http:
        models = Models(
            {"x": two, "y": two},
            {"fake": provider},
            {},
            http,
            InMemoryEmbedder(),
            Governor(),
            MASKING,
        )
    x, y, plain = (ladder_of(models, name) for name in ("x", "y", "fake/a"))
    assert x._rungs[0] is y._rungs[0] is plain._rungs[0]
    for i in range(1100):
        models.find(EVERYBODY, f"fake/made-up-{i}")
    assert len(models._unnamed) == 1000


async def test_every_hosted_rung_is_asked_behind_the_masks_and_no_other() -> None:
    openai = ProviderSettings.model_validate({"kind": "openai", "api_key": "sk"})
    mine = LadderSettings.model_validate({"targets": ["openai/gpt", "engine/qwen", "extractive"]})
    engines = {"qwen": Replicas("qwen", EngineSettings(model="qwen"), [], b"k")}
    policy = {"tenants": {"a": {"egress": "mask"}}, "models": {"openai/gpt": {"egress": "block"}}}
    masking = Masking(MaskingSettings.model_validate(policy))
    async with HttpClient() as http:
        models = Models(
            {"x": mine}, {"openai": openai}, engines, http, InMemoryEmbedder(), Governor(), masking
        )
    masked = [isinstance(rung, Masked) for rung in ladder_of(models, "x")._rungs]
    assert masked == [True, False, False]
    assert isinstance(ladder_of(models, "openai/any")._rungs[0], Masked)
    blocked = [masking.policies.at("egress", tenant="b", model=name) for name in ("x", "qwen")]
    assert [policy.allows_all for policy in blocked] == [False, True]


@pytest.mark.parametrize(
    ("masking", "guardrails", "layers"),
    [
        ({}, {}, [Governed, Ladder, Metered]),
        (
            {"storage": "mask", "tenants": {"a": {"egress": "allow"}}},
            {},
            [Governed, Ladder, Metered],
        ),
        ({"answer": "mask"}, {}, [Governed, Discreet, Ladder, Metered]),
        ({"agents": {"a": {"answer": "mask"}}}, {}, [Governed, Discreet, Ladder, Metered]),
        ({"egress": "mask"}, {}, [Governed, Discreet, Ladder, Masked]),
        ({"models": {"y": {"egress": "block"}}}, {}, [Governed, Discreet, Ladder, Masked]),
        ({}, {"length": {"max_chars": 9}}, [Governed, Guarded, Ladder, Metered]),
        ({}, {"models": {"a": {"injection": {}}}}, [Governed, Guarded, Ladder, Metered]),
        (
            {"egress": "mask"},
            {"tenants": {"a": {"length": {"max_chars": 9}}}},
            [Governed, Guarded, Discreet, Ladder, Masked],
        ),
    ],
)
async def test_a_layer_is_there_where_the_settings_have_something_for_it(
    masking: dict[str, Any], guardrails: dict[str, Any], layers: list[type]
) -> None:
    provider = ProviderSettings.model_validate({"base_url": "http://127.0.0.1:9/v1"})
    kept = LadderSettings.model_validate({"targets": ["fake/x"], "cache_ttl_s": 60})
    governor = Governor(guardrails=Guardrails(GuardrailSettings.model_validate(guardrails)))
    masks, cache = Masking(MaskingSettings.model_validate(masking)), Mock(spec=ResponseCache)
    async with HttpClient() as http:
        for governor.cache in (None, cache):
            models = Models(
                {"kept": kept}, {"fake": provider}, {}, http, InMemoryEmbedder(), governor, masks
            )
            assert [type(layer) for layer in layers_of(models, "fake/x")] == layers
    at = layers.index(Ladder)
    found = [type(layer) for layer in layers_of(models, "kept")]
    assert found == [*layers[:at], Cached, *layers[at:]]
