"""The seam between asking for text and what produces it."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from rag import Retrieval

Fields = Mapping[str, Any]
"""A chat completion request without `model`, `stream` and `stream_options`; `msgspec.Raw` values
are passed on byte by byte."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a target is asked.

    Attributes:
        fields: The OpenAI request's fields.
        include_usage: Whether a stream ends with a usage chunk.
        retrieval: The passages to answer from, on an agent's turn.
    """

    fields: Fields
    include_usage: bool = False
    retrieval: Retrieval | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole answer: `body` is an OpenAI `chat.completion` as JSON."""

    body: bytes
    target: str
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class Stream:
    """An opened stream: `payloads` are OpenAI chunks as JSON, without the closing `[DONE]`.

    The consumer must `aclose()` it. It raises `UpstreamInterrupted` when the upstream ended early.
    """

    payloads: AsyncGenerator[bytes, None]
    target: str
    attempts: int = 1


class Target(Protocol):
    """Something that answers chat completions.

    Both methods raise `gateway.errors.GatewayError`. `stream` returns when the first chunk with
    content is there, so that whatever fails before it can be tried elsewhere.
    """

    name: str

    async def complete(self, prompt: Prompt) -> Completion:
        """Return the whole answer."""
        ...

    async def stream(self, prompt: Prompt) -> Stream:
        """Return the opened stream."""
        ...


class UsageView(msgspec.Struct):
    """Token counts as an upstream tells them; what it leaves out counts as 0."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0


class _Delta(msgspec.Struct):
    content: str | None = None
    tool_calls: Any = None
    reasoning_content: str | None = None
    refusal: str | None = None


class _ChunkChoice(msgspec.Struct):
    delta: _Delta = msgspec.field(default_factory=_Delta)
    finish_reason: str | None = None


class ChunkView(msgspec.Struct):
    """The parts of a `chat.completion.chunk` that the gateway itself looks at."""

    choices: list[_ChunkChoice] = []
    usage: UsageView | None = None
    error: Any = None

    @property
    def content(self) -> str:
        """Return the text the chunk adds to the first answer."""
        return (self.choices[0].delta.content or "") if self.choices else ""

    @property
    def commits(self) -> bool:
        """Tell whether this chunk commits the answer: text, a tool call, or an end."""
        return any(
            choice.finish_reason is not None
            or choice.delta.content
            or choice.delta.tool_calls is not None
            or choice.delta.reasoning_content
            or choice.delta.refusal
            for choice in self.choices
        )


class _Message(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None


class CompletionView(msgspec.Struct):
    """The parts of a `chat.completion` that the gateway itself looks at."""

    choices: list[_Choice]
    usage: UsageView | None = None


view_chunk = msgspec.json.Decoder(ChunkView).decode
"""Decode a chunk's payload; raises `msgspec.DecodeError` or `msgspec.ValidationError`."""

view_completion = msgspec.json.Decoder(CompletionView).decode
"""Decode a completion's body; raises the same."""
