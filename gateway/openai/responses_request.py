"""The bodies of `/v1/responses` and `/v1/conversations`: what is served, typed and bounded.

A null means that the field is absent. What of OpenAI's API is not served is refused by name, with
the reason; `docs/responses.md` has the table.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from gateway.errors import InvalidRequest
from gateway.openai.chat_request import (
    FunctionName,
    JsonFormat,
    JsonObject,
    Metadata,
    Probability,
    ReasoningEffort,
    Temperature,
    TextFormat,
    Word,
)
from gateway.openai.messages import Name
from gateway.openai.store_search import FilterNode, RankingOptions

Include = Literal[
    "file_search_call.results",
    "message.output_text.logprobs",
    "message.input_image.image_url",
    "reasoning.encrypted_content",
]
_Id = Annotated[str, Meta(min_length=1, max_length=256)]

_NOT_SERVED = {
    "prompt": "prompt templates are not kept here: send `instructions`, or make an agent",
    "context_management": "use `truncation: auto`",
    "moderation": "nothing is moderated here",
    "prompt_cache_options": "what is cached is the target's business: use `prompt_cache_key`",
}
_OF_CHAT = frozenset(
    {
        *("messages", "n", "max_tokens", "max_completion_tokens", "response_format", "audio"),
        *("reasoning_effort", "functions", "function_call", "logprobs", "verbosity", "modalities"),
    }
)
_NO_TOOLS = "tools here are functions and file_search; declare it as a function of yours"


class FunctionTool(msgspec.Struct, tag_field="type", tag="function", omit_defaults=True):
    """A function that the model may call; `parameters` is a JSON schema."""

    name: FunctionName
    description: str | None = None
    parameters: JsonObject | None = None
    strict: bool | None = None


class FileSearchTool(
    msgspec.Struct, tag_field="type", tag="file_search", omit_defaults=True, kw_only=True
):
    """A search in our own vector stores."""

    vector_store_ids: Annotated[list[_Id], Meta(min_length=1, max_length=8)]
    max_num_results: Annotated[int, Meta(ge=1, le=50)] | None = None
    ranking_options: RankingOptions | None = None
    filters: FilterNode | None = None


Tool = FunctionTool | FileSearchTool


class ChosenFunction(msgspec.Struct, tag_field="type", tag="function"):
    """The function that must be called."""

    name: Name


class ChosenFileSearch(msgspec.Struct, tag_field="type", tag="file_search"):
    """The search must be made."""


class AllowedTools(msgspec.Struct, tag_field="type", tag="allowed_tools"):
    """Those of the tools that may be called."""

    mode: Literal["auto", "required"]
    tools: Annotated[list[JsonObject], Meta(min_length=1, max_length=128)]

    def allows(self, tool: Tool) -> bool:
        """Tell whether `tool` is one of them."""
        if isinstance(tool, FileSearchTool):
            return any(each.get("type") == "file_search" for each in self.tools)
        return any(
            each.get("type") == "function" and each.get("name") == tool.name for each in self.tools
        )


ToolChoice = Literal["none", "auto", "required"] | ChosenFunction | ChosenFileSearch | AllowedTools


class SchemaFormat(msgspec.Struct, tag_field="type", tag="json_schema", omit_defaults=True):
    """JSON that fits a schema."""

    name: FunctionName
    schema: JsonObject
    description: str | None = None
    strict: bool | None = None


class TextOptions(msgspec.Struct, omit_defaults=True):
    """What form the answer has."""

    format: TextFormat | JsonFormat | SchemaFormat | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class ReasoningOptions(msgspec.Struct, omit_defaults=True):
    """How hard the model thinks. Nobody sums thoughts up here: `auto` is no summary."""

    effort: ReasoningEffort | None = None
    summary: Literal["auto"] | None = None
    generate_summary: Literal["auto"] | None = None


class ConversationRef(msgspec.Struct):
    """A conversation, or a session, by its id."""

    id: _Id


class StreamOptions(msgspec.Struct):
    """Options of a streamed response; nothing is padded here."""

    include_obfuscation: Literal[False] | None = None


class CreateResponse(msgspec.Struct, kw_only=True):
    """Body of `POST /v1/responses`. `input` is looked at by `response_items.read_items`."""

    model: str
    input: str | list[JsonObject] | None = None
    instructions: str | None = None
    previous_response_id: _Id | None = None
    conversation: _Id | ConversationRef | None = None
    store: bool | None = None
    background: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    include: list[Include] | None = None
    tools: Annotated[list[Tool], Meta(max_length=128)] | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    max_tool_calls: Annotated[int, Meta(ge=1)] | None = None
    max_output_tokens: Annotated[int, Meta(ge=16, le=2**31 - 1)] | None = None
    temperature: Temperature | None = None
    top_p: Probability | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    text: TextOptions | None = None
    reasoning: ReasoningOptions | None = None
    truncation: Literal["auto", "disabled"] | None = None
    metadata: Metadata | None = None
    service_tier: Word | None = None
    user: Word | None = None
    safety_identifier: Annotated[str, Meta(max_length=64)] | None = None
    prompt_cache_key: Word | None = None
    prompt_cache_retention: Literal["in_memory", "24h"] | None = None

    @property
    def stored(self) -> bool:
        """Tell whether the response can be asked for again."""
        return self.store is not False

    @property
    def conversation_id(self) -> str | None:
        """Return the conversation that the response belongs to."""
        given = self.conversation
        return given.id if isinstance(given, ConversationRef) else given

    @property
    def may_call(self) -> list[Tool]:
        """Return the tools that may be called."""
        tools, choice = self.tools or [], self.tool_choice
        if choice == "none":
            return []
        return [t for t in tools if not isinstance(choice, AllowedTools) or choice.allows(t)]

    @property
    def file_search(self) -> FileSearchTool | None:
        """Return the search that is made."""
        searches = (tool for tool in self.may_call if isinstance(tool, FileSearchTool))
        return next(searches, None)

    def includes(self, what: Include) -> bool:
        """Tell whether the answer shall hold this too."""
        return what in (self.include or ())


_OPTIONS: Mapping[str, type[msgspec.Struct]] = {
    "text": TextOptions,
    "reasoning": ReasoningOptions,
    "stream_options": StreamOptions,
}


class CreateConversation(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /v1/conversations`."""

    metadata: Metadata | None = None
    items: Annotated[list[JsonObject], Meta(max_length=20)] | None = None


class UpdateConversation(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /v1/conversations/{id}`; null leaves no metadata."""

    metadata: Metadata | None


class CreateItems(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /v1/conversations/{id}/items`."""

    items: Annotated[list[JsonObject], Meta(min_length=1, max_length=20)]


def read_request(given: Mapping[str, Any]) -> CreateResponse:
    """Return the request of a body, checked as a whole.

    Raises:
        InvalidRequest: A field is not served, or does not go with another; `param` names it.
        msgspec.ValidationError: A field is out of its bounds.
    """
    check_served(given)
    asked = msgspec.convert(given, CreateResponse)
    _check_together(asked)
    return asked


def check_served(given: Mapping[str, Any]) -> None:
    """Refuse what is not served, whatever its form.

    Raises:
        InvalidRequest: Says why; `param` names it.
    """
    named = {name for name, value in given.items() if value is not None}
    for name in sorted(named & _NOT_SERVED.keys()):
        raise _refused(name, _NOT_SERVED[name])
    for name in sorted(named & _OF_CHAT):
        raise _refused(name, "this is a field of chat completions")
    for name, options in _OPTIONS.items():
        _check_known(name, given.get(name), options)
    _check_tools(given.get("tools"))


def extra_fields(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is not OpenAI's; whether a target takes it, is seen as on chat completions."""
    known = CreateResponse.__struct_fields__
    return {k: v for k, v in given.items() if k not in known and v is not None}


def _check_tools(tools: object) -> None:
    for place, tool in enumerate(tools if isinstance(tools, list) else ()):
        kind = tool.get("type") if isinstance(tool, dict) else None
        if isinstance(kind, str) and kind not in ("function", "file_search"):
            raise _refused(f"tools[{place}].type", f"`{kind[:64]}`: {_NO_TOOLS}")
        if kind == "function":
            _check_known(f"tools[{place}]", tool, FunctionTool)


def _check_known(param: str, given: object, known: type[msgspec.Struct]) -> None:
    """Refuse further fields; null and false ask for nothing: SDKs' objects are full of them."""
    for name, value in given.items() if isinstance(given, dict) else ():
        asks = value is not None and value is not False
        if asks and name not in (*known.__struct_fields__, "type"):
            raise _refused(f"{param}.{name[:64]}", "it is not served here")


def _check_together(asked: CreateResponse) -> None:
    if asked.previous_response_id and asked.conversation:
        raise _refused("previous_response_id", "a conversation knows itself what came before")
    if asked.background and not asked.stored:
        raise _refused("background", "what is not stored can't be asked for later")
    if asked.stream_options and not asked.stream:
        raise _refused("stream_options", "only with `stream: true`")
    if sum(isinstance(tool, FileSearchTool) for tool in asked.tools or ()) > 1:
        raise _refused("tools", "one file_search: name all its stores in `vector_store_ids`")
    choice = asked.tool_choice
    named = [tool.name for tool in asked.tools or () if isinstance(tool, FunctionTool)]
    if isinstance(choice, ChosenFunction) and choice.name not in named:
        raise _refused("tool_choice", "it names a function that `tools` lacks")
    if isinstance(choice, ChosenFileSearch) and asked.file_search is None:
        raise _refused("tool_choice", "there is no file_search in `tools`")
    if asked.top_logprobs and not asked.includes("message.output_text.logprobs"):
        raise _refused("top_logprobs", 'add "message.output_text.logprobs" to `include`')


def _refused(param: str, reason: str) -> InvalidRequest:
    return InvalidRequest(f"{param}: {reason}", param=param, code="unsupported_field")
