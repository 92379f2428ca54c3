"""Settings of guardrails: what is looked for in prompts, and what becomes of who has it."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from config.section import Section

GuardAction = Literal["allow", "flag", "local", "block"]
"""From the least strict to the strictest. `flag`: the usage record says so; `local`: the request
stays on our own engines; `block`: it is refused with 400 `guardrail_blocked`."""

Read = Literal["input", "answers", "passages"]
"""What a model judges: what users and tools say, what models answer, what agents find."""

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


class JudgeSettings(Section):
    """A model that says whether a text may pass."""

    model: _Name
    """An alias or `provider/model`. It is asked without guardrails, masked as every hosted model
    is, and paid for by the request."""
    api: Literal["chat", "llama-guard", "moderations"] = "chat"
    """How it is asked: a chat model for yes or no by `rules`; a model of the Llama Guard family,
    which knows rules of its own; or OpenAI's `/moderations` of a `provider/model`."""
    rules: Annotated[str, StringConstraints(min_length=1, max_length=8_000)] | None = None
    """What may not pass, in words for a chat model; default the usual harms."""
    reads: frozenset[Read] = Field(default=frozenset({"input"}), min_length=1)
    action: GuardAction = "block"
    """Of answers only `block` changes anything, of passages `block` leaves them out."""
    threshold: float = Field(default=0.5, gt=0, le=1)
    """From which score on the action is taken; yes and no are 1 and 0."""
    categories: dict[_Name, Annotated[float, Field(gt=0, le=1)]] = Field(default={})
    """Category -> its own threshold (`violence: 0.8`, `S1: 1`); where set, others don't count."""
    timeout_s: float = Field(default=5.0, gt=0)
    """Longest wait for all its verdicts on a request, a piece of an answer, or the passages."""
    on_failure: Literal["allow", "block"] = "block"
    """What becomes of what it can't judge; blocked it is answered 503 `guardrails_unavailable`."""
    streams: Literal["window", "end"] = "window"
    """`window`: streamed text is held back until it was judged, `window_chars` at a time; `end`: it
    is told as it comes, and judged when it ends (`finish_reason: content_filter`)."""
    window_chars: int = Field(default=1_000, ge=50, le=50_000)

    @model_validator(mode="after")
    def _as_the_api_needs(self) -> Self:
        if self.api == "moderations" and "/" not in self.model:
            raise ValueError("model: moderations are of a `provider/model`")
        if self.rules and self.api != "chat":
            raise ValueError("rules go with `api: chat`")
        return self


class GuardrailRules(Section):
    """The guardrails that are asked; none unless set."""

    injection: InjectionSettings | None = None
    deny: DenySettings | None = None
    length: LengthSettings | None = None
    judge: JudgeSettings | None = None


class GuardrailSettings(GuardrailRules):
    """For every model, and other ones for some; those of a tenant are asked besides."""

    models: dict[_Name, GuardrailRules] = Field(default={})
    """By alias, `provider/model` or agent: what is set there takes the default's place, null turns
    it off."""
    tenants: dict[_Name, GuardrailRules] = Field(default={})
