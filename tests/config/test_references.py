"""Names in the settings that must stand for something."""

import pytest

from config.references import missing_references
from config.settings import Settings

_MODELS = {
    "providers": {"fake": {"base_url": "http://x/v1"}},
    "engines": {"qwen": {"urls": ["http://x/v1"]}},
    "models": {"smart": ["fake/m", "engine/qwen"]},
}


@pytest.mark.parametrize("name", ["default", "smart", "qwen", "fake/m", "fake/any/other"])
def test_a_model_that_callers_can_ask_for_may_be_masked_and_judge(name: str) -> None:
    masking = {"models": {name: {"egress": "mask"}}}
    judge = {"judge": {"model": name}}
    settings = Settings.model_validate({**_MODELS, "masking": masking, "guardrails": judge})
    assert missing_references(settings) == []


# Nobody asks for `engine/qwen`: what such a policy says would never be done.
@pytest.mark.parametrize("name", ["nosuch", "smrat", "other/m", "fake/", "engine/qwen"])
def test_a_masking_policy_of_no_model_is_a_fault(name: str) -> None:
    masking = {"models": {name: {"egress": "mask"}}}
    assert missing_references(Settings.model_validate({**_MODELS, "masking": masking})) == [
        f"masking.models.{name}: no alias `{name}`; add models.{name}, or name a `provider/model`"
    ]


def test_agents_and_tenants_are_not_of_the_settings() -> None:
    policy = {"nosuch": {"egress": "mask"}}
    settings = Settings.model_validate({"masking": {"agents": policy, "tenants": policy}})
    assert missing_references(settings) == []


@pytest.mark.parametrize("where", ["", ".models.smart", ".tenants.acme"])
def test_a_judge_that_is_no_model_is_a_fault(where: str) -> None:
    rules: dict[str, object] = {"judge": {"model": "nosuch"}}
    for part in reversed(where.split(".")[1:]):
        rules = {part: rules}
    (told,) = missing_references(Settings.model_validate({**_MODELS, "guardrails": rules}))
    assert told.startswith(f"guardrails{where}.judge.model: no alias `nosuch`; add models.nosuch")
