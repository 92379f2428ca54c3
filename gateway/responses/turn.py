"""What one response answers, read from a request: everything but who answers."""

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from gateway.openai.chat import Variables
from gateway.openai.chat_request import JsonObject
from gateway.openai.response_items import (
    InputText,
    Item,
    Message,
    new_item_id,
    read_items,
)
from gateway.openai.responses import ConversationId, Response
from gateway.openai.responses_request import (
    AllowedTools,
    CreateResponse,
    FunctionTool,
    Tool,
    extra_fields,
    read_request,
)


@dataclass(frozen=True, slots=True)
class Turn:
    """A response to be made.

    Attributes:
        asked: The request.
        extras: Its fields that OpenAI's API does not know.
        items: Its own input.
        response: The response as it begins.
        local_only: Never send it to a model that is not our own.
    """

    asked: CreateResponse
    extras: Mapping[str, Any]
    items: Sequence[Item]
    response: Response
    local_only: bool

    @property
    def resumable(self) -> bool:
        """Whether its events are kept for who comes back to them."""
        return self.asked.stored and bool(self.asked.stream)

    @property
    def variables(self) -> Variables | None:
        """Return the values for an agent's instructions.

        Raises:
            msgspec.ValidationError: They are no values, or too many.
        """
        return msgspec.convert(self.extras, _Variables).variables


class _Variables(msgspec.Struct):
    """The one field beside OpenAI's that an agent takes."""

    variables: Variables | None = None


def read_turn(given: Mapping[str, Any], *, local_only: bool) -> Turn:
    """Return what a request's body asks for.

    Raises:
        InvalidRequest: A field is not served, or does not go with another; `param` names it.
        msgspec.ValidationError: A field is out of its bounds.
    """
    asked = read_request(given)
    if isinstance(asked.input, list):
        items = read_items(asked.input, "input")
    else:
        items = [Message("user", [InputText(asked.input)])] if asked.input else []
    for item in items:
        item.id = item.id or new_item_id(item)
    return Turn(asked, extra_fields(given), items, _begun(asked), local_only)


def resumed(given: Mapping[str, Any], stored: Response, items: Sequence[Item]) -> Turn:
    """Return the turn of a response that waited; `given` is what was asked."""
    local_only = bool(given["local_only"])
    asked = read_request(given["body"])
    return Turn(asked, extra_fields(given["body"]), items, stored, local_only)


def _begun(asked: CreateResponse) -> Response:
    conversation = asked.conversation_id
    reasoning, text = asked.reasoning, asked.text
    return Response(
        id=f"resp_{uuid.uuid4().hex}",
        created_at=int(time.time()),
        status="queued" if asked.background else "in_progress",
        background=bool(asked.background),
        instructions=asked.instructions,
        max_output_tokens=asked.max_output_tokens,
        max_tool_calls=asked.max_tool_calls,
        model=asked.model,
        parallel_tool_calls=asked.parallel_tool_calls is not False,
        previous_response_id=asked.previous_response_id,
        conversation=ConversationId(conversation) if conversation else None,
        prompt_cache_key=asked.prompt_cache_key,
        reasoning={"effort": reasoning and reasoning.effort, "summary": None},
        safety_identifier=asked.safety_identifier,
        store=asked.stored,
        temperature=asked.temperature,
        text={"format": {"type": "text"}} | msgspec.to_builtins(text or {}),
        tool_choice=_told_choice(asked),
        tools=[_told_tool(tool) for tool in asked.tools or ()],
        top_logprobs=asked.top_logprobs,
        top_p=asked.top_p,
        truncation=asked.truncation or "disabled",
        user=asked.user or msgspec.UNSET,
        metadata=asked.metadata or {},
    )


def _told_choice(asked: CreateResponse) -> str | JsonObject:
    choice = asked.tool_choice
    if choice is None or isinstance(choice, str):
        return choice or "auto"
    told: JsonObject = msgspec.to_builtins(choice)
    if isinstance(choice, AllowedTools):
        told["type"] = "allowed_tools"
    return told


def _told_tool(tool: Tool) -> JsonObject:
    """Return a tool with what OpenAI's schema requires of it."""
    told: JsonObject = msgspec.to_builtins(tool)
    if isinstance(tool, FunctionTool):
        told = {"parameters": None, "strict": False, **told}
    return told
