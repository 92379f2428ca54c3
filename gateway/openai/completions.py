"""Text completions: what comes in and what goes out. OpenAI API reference, `/v1/completions`."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from gateway.openai.chat import Usage
from gateway.openai.chat_request import (
    Answers,
    LogitBias,
    Penalty,
    Probability,
    Seed,
    Stop,
    StreamOptions,
    Temperature,
    Word,
)

TokenId = Annotated[int, Meta(ge=0, lt=2**31)]
Tokens = Annotated[list[TokenId], Meta(min_length=1)]
Texts = str | Annotated[list[str | TokenId | Tokens], Meta(min_length=1)]
"""One text or several, or the same in tokens; `count_texts` refuses a mixture."""

_MAX_PROMPTS = 128


def count_texts(texts: Texts, field: str) -> int:
    """Return how many texts a request's field holds.

    Raises:
        ValueError: Text and tokens are mixed.
    """
    if isinstance(texts, str) or all(isinstance(item, int) for item in texts):
        return 1
    if len({type(item) for item in texts}) > 1:
        raise ValueError(f"{field}: strings, or tokens, or lists of tokens; no mixture")
    return len(texts)


class CompletionRequest(msgspec.Struct, omit_defaults=True, kw_only=True):
    """A text completion request: one prompt or several, as text or as the model's own tokens."""

    model: str
    prompt: Texts
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Temperature | None = None
    top_p: Probability | None = None
    max_tokens: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    n: Answers | None = None
    best_of: Annotated[int, Meta(ge=0, le=20)] | None = None
    seed: Seed | None = None
    stop: Stop | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: LogitBias | None = None
    logprobs: Annotated[int, Meta(ge=0, le=5)] | None = None
    echo: bool | None = None
    suffix: str | None = None
    user: Word | None = None

    def __post_init__(self) -> None:
        if count_texts(self.prompt, "prompt") > _MAX_PROMPTS:
            raise ValueError(f"prompt: at most {_MAX_PROMPTS} in one request")


class TextLogprobs(msgspec.Struct):
    """Log probabilities, token by token."""

    text_offset: list[int]
    token_logprobs: list[float | None]
    tokens: list[str]
    top_logprobs: list[dict[str, float] | None]


class TextChoice(msgspec.Struct):
    """One completion."""

    text: str
    finish_reason: Literal["stop", "length", "content_filter"]
    index: int
    logprobs: TextLogprobs | None


class TextCompletion(msgspec.Struct):
    """A whole answer."""

    id: str
    created: int
    model: str
    choices: list[TextChoice]
    object: Literal["text_completion"] = "text_completion"
    usage: Usage | UnsetType = UNSET
