"""Responses and conversations as they go out. OpenAI API reference, `Response`."""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from gateway.openai.chat_request import JsonObject
from gateway.openai.response_items import (
    FileSearchCall,
    FunctionCallItem,
    FunctionCallOutput,
    Message,
    Reasoning,
)

ResponseStatus = Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]
ENDED: frozenset[ResponseStatus] = frozenset({"completed", "incomplete", "failed", "cancelled"})
"""A response of these does not change any more."""


class InputTokensDetails(msgspec.Struct):
    """How many of the prompt's tokens the model had read before."""

    cached_tokens: int = 0
    cache_write_tokens: int = 0


class OutputTokensDetails(msgspec.Struct):
    """How many tokens were thoughts."""

    reasoning_tokens: int = 0


class ResponseUsage(msgspec.Struct):
    """Token counts."""

    input_tokens: int
    output_tokens: int
    total_tokens: int
    input_tokens_details: InputTokensDetails
    output_tokens_details: OutputTokensDetails


class ResponseFault(msgspec.Struct):
    """Why a response failed; `code` is one of the few that OpenAI's schema knows."""

    code: Literal["server_error", "rate_limit_exceeded", "invalid_prompt"]
    message: str


class IncompleteDetails(msgspec.Struct):
    """Why a response ended early."""

    reason: Literal["max_output_tokens", "content_filter"]


class ConversationId(msgspec.Struct):
    """The conversation that a response belongs to."""

    id: str


class Response(msgspec.Struct, kw_only=True):
    """A response; what OpenAI's schema requires is there, be it null. Times in seconds."""

    id: str
    object: Literal["response"] = "response"
    created_at: int
    completed_at: int | None = None
    status: ResponseStatus = "in_progress"
    background: bool = False
    error: ResponseFault | None = None
    incomplete_details: IncompleteDetails | None = None
    instructions: str | None = None
    max_output_tokens: int | None = None
    max_tool_calls: int | None = None
    model: str
    output: list[Message | FunctionCallItem | FunctionCallOutput | Reasoning | FileSearchCall] = []
    parallel_tool_calls: bool = True
    previous_response_id: str | None = None
    conversation: ConversationId | None = None
    prompt_cache_key: str | None = None
    reasoning: JsonObject
    safety_identifier: str | None = None
    service_tier: str | UnsetType = UNSET
    store: bool = True
    temperature: float | None = None
    text: JsonObject
    tool_choice: str | JsonObject = "auto"
    tools: list[JsonObject] = []
    top_logprobs: int | None = None
    top_p: float | None = None
    truncation: Literal["auto", "disabled"] = "disabled"
    usage: ResponseUsage | UnsetType = UNSET
    user: str | UnsetType = UNSET
    metadata: dict[str, str] = {}


class ConversationObject(msgspec.Struct):
    """A conversation, which is a session too."""

    id: str
    created_at: int
    metadata: dict[str, str]
    object: Literal["conversation"] = "conversation"


class DeletedConversation(msgspec.Struct):
    """What deleting a conversation answers."""

    id: str
    deleted: bool = True
    object: Literal["conversation.deleted"] = "conversation.deleted"


class DeletedResponse(msgspec.Struct):
    """What deleting a response answers."""

    id: str
    deleted: bool = True
    object: Literal["response"] = "response"


Event = dict[str, Any]
"""An event of a stream: its `type`, its `sequence_number`, and what its type demands."""
