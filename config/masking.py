"""Settings of masking: what becomes of personal data, by boundary and kind."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, StringConstraints

from config.section import Section

PiiKind = Literal[
    "resident_number",
    "foreigner_number",
    "phone",
    "bank_account",
    "business_number",
    "passport",
    "driver_licence",
    "card",
    "email",
]
"""Kinds of personal data. `default` stands for those that a rule does not name."""

EgressAction = Literal["allow", "pseudonym", "mask", "block"]
"""From the least strict to the strictest. `pseudonym`: the hosted model reads a stand-in, which is
the original again in its answer; `block`: the request is refused with 400 `pii_blocked`."""

HidingAction = Literal["allow", "mask"]

RuleKind = Literal[PiiKind, "default"]
_Name = Annotated[str, StringConstraints(min_length=1, max_length=256)]


def _rules(value: object) -> object:
    return {"default": value} if isinstance(value, str) else value


EgressRules = Annotated[dict[RuleKind, EgressAction], BeforeValidator(_rules)]
HidingRules = Annotated[dict[RuleKind, HidingAction], BeforeValidator(_rules)]
"""Kind -> action; one word alone is for all of them."""


class BoundarySettings(Section):
    """What becomes of personal data at each boundary; where nothing is said it is let through."""

    egress: EgressRules = Field(default={})
    """What hosted models read."""
    storage: HidingRules = Field(default={})
    """What is stored of sessions, turns, responses, conversations and feedback."""
    answer: HidingRules = Field(default={})
    """What callers are answered."""


class MaskingSettings(BoundarySettings):
    """For everybody, and more for some; where several apply, the strictest counts."""

    logs: HidingRules = Field(default={"default": "mask"})
    """What the service's own log lines say."""
    models: dict[_Name, BoundarySettings] = Field(default={})
    """By alias or `provider/model`."""
    agents: dict[_Name, BoundarySettings] = Field(default={})
    tenants: dict[_Name, BoundarySettings] = Field(default={})
