"""Settings of guardrails: what is looked for in prompts, and what becomes of who has it."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from config.section import Section

GuardAction = Literal["allow", "flag", "local", "block"]
"""From the least strict to the strictest. `flag`: the usage record says so; `local`: the request
stays on our own engines; `block`: it is refused with 400 `guardrail_blocked`."""

_Name = Annotated[str, StringConstraints(min_length=1, max_length=256)]


def _with_letters(phrase: str) -> str:
    if not any(character.isalnum() for character in phrase):
        raise ValueError("a phrase needs a letter or a digit")
    return phrase


_Phrase = Annotated[str, StringConstraints(max_length=100), AfterValidator(_with_letters)]


class InjectionSettings(Section):
    """Attempts to talk a model out of its instructions, by their usual words."""

    action: GuardAction = "block"
    threshold: float = Field(default=0.7, gt=0, le=1)
    """From which score on the action is taken; what scores lower is flagged."""


class DenySettings(Section):
    """Words and phrases that must not be said."""

    phrases: tuple[_Phrase, ...] = Field(min_length=1, max_length=1000)
    """Whole words, in any case; Korean particles may follow."""
    action: GuardAction = "block"
    answers: bool = False
    """Whether answers end before a phrase, too (`finish_reason: content_filter`)."""


class LengthSettings(Section):
    """How much a user may say."""

    max_chars: int = Field(ge=1)
    """Characters of all that users say in one request."""
    action: GuardAction = "block"


class GuardrailRules(Section):
    """The guardrails that are asked; none unless set."""

    injection: InjectionSettings | None = None
    deny: DenySettings | None = None
    length: LengthSettings | None = None


class GuardrailSettings(GuardrailRules):
    """For every model, and other ones for some; those of a tenant are asked besides."""

    models: dict[_Name, GuardrailRules] = Field(default={})
    """By alias, `provider/model` or agent: what is set there takes the default's place, null turns
    it off."""
    tenants: dict[_Name, GuardrailRules] = Field(default={})
