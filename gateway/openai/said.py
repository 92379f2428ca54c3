"""Parts of an answer, whoever gives it and however it comes: whole, in chunks, from an agent."""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.openai.chat_request import JsonObject
from gateway.openai.references import Reference
from gateway.openai.response_items import FileSearchCall
from gateway.openai.responses import ResponseUsage


@dataclass(frozen=True, slots=True)
class Text:
    """A part of the answer."""

    text: str
    logprobs: Sequence[JsonObject] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """A part of a refusal."""

    text: str


@dataclass(frozen=True, slots=True)
class Thought:
    """A part of the reasoning."""

    text: str


@dataclass(frozen=True, slots=True)
class CallPart:
    """A part of the `index`th call; its first one has `call_id` and `name`."""

    index: int
    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The answer's end: a `finish_reason` of chat completions."""

    reason: str


@dataclass(frozen=True, slots=True)
class Counted:
    """What the answer took."""

    usage: ResponseUsage


@dataclass(frozen=True, slots=True)
class Named:
    """Who answers, and in which tier."""

    model: str
    service_tier: str | None


@dataclass(frozen=True, slots=True)
class Searched:
    """A search that was made before the answer."""

    call: FileSearchCall


@dataclass(frozen=True, slots=True)
class Cited:
    """What the `[n]` of the text so far stand for."""

    references: Sequence[Reference]


Said = Text | Refusal | Thought | CallPart | Ended | Counted | Named | Searched | Cited
