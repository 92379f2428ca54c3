"""Tokens of one answer, counted while it grows."""

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


MOST = 10**9
"""So many tokens nobody asked or said: whoever tells them is not believed."""


class TokenUsage(msgspec.Struct):
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
    chunks: int = 0
    engine_ns: int = 0

    def take(self, told: UsageView) -> bool:
        """Take the upstream's count, which includes what it told before.

        Return whether it can be one: less than nothing, or a billion tokens, are not taken.
        """
        details = told.prompt_tokens_details
        cached = (details and details.cached_tokens) or 0
        asked, said = told.prompt_tokens, told.completion_tokens or 0
        if not (0 <= asked < MOST and 0 <= said < MOST and 0 <= cached < MOST):
            return False
        self.prompt_tokens, self.completion_tokens, self.cached_tokens = asked, said, cached
        self.estimated = False
        return True

    @property
    def total_tokens(self) -> int:
        """Return both together."""
        return self.prompt_tokens + self.completion_tokens
