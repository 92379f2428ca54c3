"""What every section of the settings is, and the names in them."""

import re

from pydantic import AfterValidator, BaseModel, ConfigDict


class Section(BaseModel):
    """A part of the settings: unknown names are refused, values don't change."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)


def matching(pattern: str, meaning: str) -> AfterValidator:
    """Return what refuses a text that a pattern does not match, in words an operator reads."""

    def validate(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(meaning)
        return text

    return AfterValidator(validate)
