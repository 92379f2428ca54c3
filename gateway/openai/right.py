"""Whole answers that fit OpenAI's schema as they are: nothing of them needs to be mended.

Stricter than the schema, so that whatever is out of the ordinary goes the longer way.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from gateway.openai.usage import MOST, TokenUsage

_Nothing = Annotated[list[Any], Meta(max_length=0)]
_Count = Annotated[int, Meta(ge=0)]
_Counted = Annotated[int, Meta(ge=0, lt=MOST)]


class _Strict(msgspec.Struct, forbid_unknown_fields=True):
    pass


class _Message(_Strict):
    role: Literal["assistant"]
    content: str | None
    refusal: str | None
    annotations: _Nothing | UnsetType = UNSET


class _Choice(_Strict):
    index: int
    message: _Message
    finish_reason: Literal["stop", "length", "content_filter"]
    logprobs: None


class _PromptDetails(_Strict):
    cached_tokens: _Counted
    audio_tokens: _Count | UnsetType = UNSET


class _AnswerDetails(_Strict):
    reasoning_tokens: _Count
    audio_tokens: _Count | UnsetType = UNSET
    accepted_prediction_tokens: _Count | UnsetType = UNSET
    rejected_prediction_tokens: _Count | UnsetType = UNSET


class _Usage(_Strict):
    prompt_tokens: _Counted
    completion_tokens: _Counted
    total_tokens: Annotated[int, Meta(ge=1)]
    prompt_tokens_details: _PromptDetails | UnsetType = UNSET
    completion_tokens_details: _AnswerDetails | UnsetType = UNSET

    def counted(self) -> TokenUsage:
        """Return it as what a whole answer took."""
        details = self.prompt_tokens_details
        cached = 0 if details is UNSET else details.cached_tokens
        return TokenUsage(self.prompt_tokens, self.completion_tokens, cached, complete=True)


class RightCompletion(_Strict):
    """A chat completion that is right."""

    id: Annotated[str, Meta(min_length=1)]
    object: Literal["chat.completion"]
    created: int
    model: Annotated[str, Meta(min_length=1)]
    choices: Annotated[list[_Choice], Meta(min_length=1)]
    usage: _Usage
    service_tier: Literal["auto", "default", "flex", "scale", "priority"] | UnsetType = UNSET
    system_fingerprint: str | UnsetType = UNSET


_decode = msgspec.json.Decoder(RightCompletion).decode


def read_right(body: bytes) -> RightCompletion | None:
    """Return a chat completion that is right; None where it must be looked at more closely."""
    try:
        return _decode(body)
    except (ValueError, RecursionError):
        return None
