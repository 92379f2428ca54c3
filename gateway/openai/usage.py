"""Tokens of one answer, counted while it grows."""

from dataclasses import dataclass, field

import msgspec


class PromptDetails(msgspec.Struct):
    """What is known of the tokens asked."""

    cached_tokens: int | None = None


class UsageView(msgspec.Struct):
    """Token counts as an upstream tells them; what it leaves out counts as 0."""

    prompt_tokens: int = 0
    completion_tokens: int | None = None
    total_tokens: int = 0
    prompt_tokens_details: PromptDetails | None = None


_MOST = 10**9


@dataclass(slots=True)
class TokenUsage:
    """What an answer took. A stream's is final once the stream is closed.

    Attributes:
        prompt_tokens: Tokens asked.
        completion_tokens: Tokens said.
        cached_tokens: Those of the prompt that the upstream had in its cache.
        estimated: The counts are ours: the upstream told none.
        complete: The answer came to its end; else the counts are the last ones known.
        chunks: How many chunks of a stream said something; each answer's count.
        engine_ns: Nanoseconds of an engine of ours; requests that it computes at the same time
            share them.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    estimated: bool = False
    complete: bool = False
    chunks: int = field(default=0, compare=False)
    engine_ns: int = field(default=0, compare=False)

    def take(self, told: UsageView) -> bool:
        """Take the upstream's count, which includes what it told before.

        Return whether it can be one: less than nothing, or a billion tokens, are not taken.
        """
        details = told.prompt_tokens_details
        cached = (details and details.cached_tokens) or 0
        asked, said = told.prompt_tokens, told.completion_tokens or 0
        if not (0 <= asked < _MOST and 0 <= said < _MOST and 0 <= cached < _MOST):
            return False
        self.prompt_tokens, self.completion_tokens, self.cached_tokens = asked, said, cached
        self.estimated = False
        return True

    @property
    def total_tokens(self) -> int:
        """Return both together."""
        return self.prompt_tokens + self.completion_tokens
