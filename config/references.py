"""Names in the settings that stand for what is elsewhere in them."""

from config.guardrails import GuardrailRules
from config.settings import Settings


def missing_references(settings: Settings) -> list[str]:
    """Return a line for each name that stands for nothing, with what to write instead."""
    missing = [
        f"models.{alias}: {fault}"
        for alias, ladder in settings.models.items()
        for rung in ladder.targets
        if (fault := _missing(settings, rung.target))
    ]
    missing += _missing_judges(settings)
    missing += _missing_masked(settings)
    if "engine" in settings.providers:
        missing.append("providers.engine: this name stands for engines in `models`; take another")
    return missing


def _missing(settings: Settings, target: str) -> str | None:
    """Return what a target lacks in the settings."""
    kind, _, name = target.partition("/")
    if kind == "engine":
        engine = name.partition("/")[0]
        known = engine in settings.engines
        return None if known else f"no engine `{engine}` is configured; add engines.{engine}.model"
    if target == "extractive" or kind in settings.providers:
        return None
    return f"no provider `{kind}` is configured; add providers.{kind}.base_url"


def _missing_judges(settings: Settings) -> list[str]:
    """Return what the models that judge for guardrails lack."""
    rules = settings.guardrails
    sections: dict[str, GuardrailRules] = {
        "": rules,
        **{f".models.{name}": each for name, each in rules.models.items()},
        **{f".tenants.{name}": each for name, each in rules.tenants.items()},
    }
    return [
        f"guardrails{where}.judge.model: {_no_model(section.judge.model)}"
        for where, section in sections.items()
        if section.judge and not _is_model(settings, section.judge.model)
    ]


def _missing_masked(settings: Settings) -> list[str]:
    """Return whose masks nobody would ever wear: callers name no such model."""
    return [
        f"masking.models.{name}: {_no_model(name)}"
        for name in settings.masking.models
        if not _is_model(settings, name)
    ]


def _is_model(settings: Settings, name: str) -> bool:
    """Tell whether callers can ask for a model of that name."""
    provider, _, model = name.partition("/")
    aliases = {"default", *settings.models, *settings.engines}
    return name in aliases or bool(model and provider in settings.providers)


def _no_model(name: str) -> str:
    return f"no alias `{name}`; add models.{name}, or name a `provider/model`"
