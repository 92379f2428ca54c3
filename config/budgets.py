"""The settings of budgets in money."""

from pydantic import Field

from config.section import Section


class BudgetSettings(Section):
    """What is assumed of a request whose caller has a budget, before there is an answer."""

    answer_tokens: int = Field(default=4096, ge=1)
    """How long an answer may be where neither the caller nor the model's price says."""
    image_tokens: int = Field(default=16_384, ge=1)
    """How many tokens one image is at most, where the model's price does not say."""
