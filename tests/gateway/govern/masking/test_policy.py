from config.masking import MaskingSettings
from gateway.govern.masking.kinds import Kind
from gateway.govern.masking.policy import Action, Policies, Policy


def _policies(**settings: object) -> Policies:
    return Policies(MaskingSettings.model_validate(settings))


def test_without_settings_only_logs_are_masked() -> None:
    policies = _policies()
    for boundary in ("egress", "storage", "answer"):
        assert policies.at(boundary, tenant="acme").allows_all
    assert {policies.logs.action(kind) for kind in Kind} == {Action.MASK}


def test_one_word_is_for_all_kinds_and_a_kind_may_differ() -> None:
    policy = _policies(egress={"default": "pseudonym", "card": "block"}).at("egress", tenant="t")
    assert policy.action(Kind.CARD) is Action.BLOCK
    assert policy.action(Kind.PHONE) is Action.PSEUDONYM
    assert _policies(answer="mask").at("answer", tenant="t").action(Kind.EMAIL) is Action.MASK


def test_the_strictest_of_all_that_apply_counts() -> None:
    policies = _policies(
        egress="pseudonym",
        tenants={"acme": {"egress": {"phone": "block"}}},
        models={"smart": {"egress": {"email": "mask", "phone": "allow"}}},
        agents={"hr": {"egress": {"card": "block", "email": "pseudonym"}}},
    )
    policy = policies.at("egress", tenant="acme", model="smart", agent="hr")
    assert policy.action(Kind.PHONE) is Action.BLOCK
    assert policy.action(Kind.EMAIL) is Action.MASK
    assert policy.action(Kind.CARD) is Action.BLOCK
    assert policy.action(Kind.PASSPORT) is Action.PSEUDONYM
    assert policies.at("egress", tenant="other").action(Kind.PHONE) is Action.PSEUDONYM


def test_what_holds_for_a_target_holds_for_the_aliases_that_lead_there() -> None:
    policies = _policies(
        models={"fake/x": {"answer": "mask"}, "smart": {"answer": {"card": "mask"}}}
    )
    policies.lead({"smart": ["engine/q", "fake/x"], "local": ["engine/q"]})
    for model, masked in (("smart", True), ("fake/x", True), ("local", False), ("fake/y", False)):
        assert policies.at("answer", tenant="t", model=model).allows_all is not masked


def test_where_nothing_comes_back_pseudonyms_are_masks() -> None:
    policy = Policy.of({"default": "pseudonym", "card": "block"}).without_pseudonyms()
    assert policy.action(Kind.PHONE) is Action.MASK
    assert policy.action(Kind.CARD) is Action.BLOCK
