"""The seam between asking for text and what produces it.

Prompts and answers are msgspec's structs, not dataclasses: each layer of a ladder replaces a field
or two, which costs a twelfth.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import msgspec

from gateway.govern.charge import Charge
from gateway.govern.masking.policy import Policy
from gateway.openai.normalise import Kind
from gateway.openai.tokens import estimate_tokens
from gateway.openai.usage import TokenUsage, UsageView
from rag import Retrieval

Fields = Mapping[str, Any]
"""An OpenAI request without `model`, `stream` and `stream_options`; `msgspec.Raw` values are
passed on byte by byte."""


class Prompt(msgspec.Struct, frozen=True):
    """What a target is asked.

    Attributes:
        fields: The OpenAI request's fields.
        kind: Which of OpenAI's requests they are; embeddings and moderations are never streamed.
        api: By which API it was asked, where that is not the one of `kind`.
        include_usage: Whether a stream's chunks carry `usage`: null, and told in one last chunk.
        retrieval: The passages to answer from, on an agent's turn.
        threshold: From which confidence on they were found to hold the answer; None: nobody
            judged.
        tenant: For whom; an engine's cached prefixes are shared within it alone.
        affinity: What brings related prompts to the same replica and the same rung, such as a
            session's id; None leaves it to the prompt's first words.
        local_only: Never leave our own engines.
        continues: The last message is the answer's beginning; go on from there.
        charge: The account of the request that it is a part of.
        agent: The agent whose turn it is a part of; empty where a model was asked.
        egress: What of personal data hosted targets may read; None is what its tenant's may.
        verdicts: What guardrails found in the caller's words; None where nobody looked yet.
        beside: A question of this service's own, beside what its request is for.
        shorter: Returns a shorter prompt to the same end, or None; itself None where none is
            wanted.
    """

    fields: Fields
    kind: Kind = "chat"
    api: Literal["responses"] | None = None
    include_usage: bool = False
    retrieval: Retrieval | None = None
    threshold: float | None = None
    tenant: str = ""
    affinity: str | None = None
    local_only: bool = False
    continues: bool = False
    charge: Charge | None = None
    agent: str = ""
    egress: Policy | None = None
    verdicts: Mapping[str, str] | None = None
    beside: bool = False
    shorter: Callable[[], Awaitable["Prompt | None"]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """How an answer came about.

    Attributes:
        target: Who answered.
        attempts: How many requests it took.
        reason: Why the targets before this one did not answer; None where there were none.
        agent: As which agent; empty where a model was asked.
        agent_version: Which version of it.
    """

    target: str
    attempts: int = 1
    reason: str | None = None
    agent: str = ""
    agent_version: int = 0


class Completion(msgspec.Struct, frozen=True):
    """A whole answer: `body` is of OpenAI's schema, as JSON; the rest as in `Served`."""

    body: bytes
    target: str
    attempts: int = 1
    reason: str | None = None
    usage: TokenUsage = msgspec.field(default_factory=TokenUsage)


class Payloads(Protocol):
    """What a stream says: chunks of OpenAI's schema as JSON, and `Comment`s."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Return itself."""
        ...

    async def __anext__(self) -> bytes:
        """Return the next payload."""
        ...

    async def aclose(self) -> None:
        """End it, and the upstream's work with it."""
        ...


class Comment(bytes):
    """A payload that is no chunk: words for a person who reads the wire."""

    __slots__ = ()


class Stream(msgspec.Struct, frozen=True):
    """An opened stream: `payloads` without the closing `[DONE]`; the rest as in `Served`.

    The consumer must `aclose()` the payloads. They raise `UpstreamError` when the upstream fails
    after its first content.
    """

    payloads: Payloads
    target: str
    attempts: int = 1
    reason: str | None = None
    usage: TokenUsage = msgspec.field(default_factory=TokenUsage)


class Target(Protocol):
    """Something that answers prompts.

    Both methods raise `gateway.errors.GatewayError`. `stream` returns when the first chunk with
    content is there, so that whatever fails before it can be tried elsewhere.

    Attributes:
        name: As the settings write it.
        accepts_unknown: Whether it judges fields itself; an engine's must be known and bounded.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - see the class

    @property
    def accepts_unknown(self) -> bool: ...  # noqa: D102

    async def complete(self, prompt: Prompt) -> Completion:
        """Return the whole answer."""
        ...

    async def stream(self, prompt: Prompt) -> Stream:
        """Return the opened stream."""
        ...


class _Delta(msgspec.Struct):
    content: str | None = None
    tool_calls: Any = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    refusal: str | None = None


class _ChunkChoice(msgspec.Struct):
    index: int = 0
    delta: _Delta = msgspec.field(default_factory=_Delta)
    text: str = ""
    finish_reason: str | None = None

    @property
    def said(self) -> str:
        """Return what it adds: text, or reasoning."""
        delta = self.delta
        return delta.content or self.text or delta.reasoning or delta.reasoning_content or ""


class ChunkView(msgspec.Struct):
    """The parts of a chunk that the gateway itself looks at."""

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
            or choice.said
            or choice.delta.tool_calls
            or choice.delta.refusal
            for choice in self.choices
        )


class _Message(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Message = msgspec.field(default_factory=_Message)
    text: str = ""
    finish_reason: str | None = None

    @property
    def estimate(self) -> int:
        """Return about how many tokens it says."""
        return estimate_tokens(self.message.content or self.text)


class CompletionView(msgspec.Struct):
    """The parts of a completion that the gateway itself looks at."""

    choices: list[_Choice] = []
    usage: UsageView | None = None


view_chunk = msgspec.json.Decoder(ChunkView).decode
"""Decode a chunk's payload; raises `msgspec.DecodeError` or `msgspec.ValidationError`."""

view_completion = msgspec.json.Decoder(CompletionView).decode
"""Decode a completion's body; raises the same."""
