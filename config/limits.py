"""What callers may take of the service, where no rule of a tenant says otherwise."""

from pydantic import Field

from config.section import Section


class LimitSettings(Section):
    """What one of a kind may take; what is left out is not limited."""

    requests_per_minute: int | None = Field(default=None, ge=1)
    tokens_per_minute: int | None = Field(default=None, ge=1)
    """Tokens of prompts and answers together."""
    tokens_per_day: int | None = Field(default=None, ge=1)
    concurrent_requests: int | None = Field(default=None, ge=1)
    """How many may be under way at a time, streams among them."""
    concurrent_streams: int | None = Field(default=None, ge=1)


class LimitsSettings(Section):
    """Limits of everybody for whom no rule of its tenant (`/admin/limits`) says otherwise."""

    tenant: LimitSettings = LimitSettings()
    """Of each tenant."""
    client: LimitSettings = LimitSettings()
    """Of each client."""
    key: LimitSettings = LimitSettings()
    """Of each API key."""
    end_user: LimitSettings = LimitSettings()
    """Of each end user of a client."""
    model: LimitSettings = LimitSettings()
    """Of each model and each agent, as callers name it, within a tenant."""
    assumed_answer_tokens: int = Field(default=1024, ge=1)
    """What is reserved for an answer where the request sets no `max_tokens`."""
