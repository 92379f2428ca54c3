"""Chat completions: what is asked of an agent, and what goes out.

OpenAI API reference, `POST /v1/chat/completions`. Absent fields stay absent (`UNSET`).
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from gateway.openai.chat_request import JsonObject, StreamOptions, TextFormat
from gateway.openai.messages import CustomCall, FunctionCall, TextPart
from gateway.openai.references import IndexContext, Reference


class Message(msgspec.Struct):
    """A message to an agent: text only."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[list[TextPart], Meta(min_length=1)]
    name: str | None = None

    @property
    def text(self) -> str:
        """Return the content as one string."""
        if isinstance(self.content, str):
            return self.content
        return "\n".join(part.text for part in self.content)


Variables = Annotated[dict[str, str | int | float | bool], Meta(max_length=32)]
"""Values for an agent's instructions, by the variable's name."""


_Nothing = Annotated[list[Any], Meta(max_length=0)]


class AgentChatRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A chat completion asked of an agent: any other field is refused by name.

    What an agent does not do may be asked for in the words that ask for nothing. The path names the
    agent: `model`, which OpenAI's clients must send, may be left out and decides nothing.
    """

    messages: Annotated[list[Message], Meta(min_length=1)]
    model: str = ""
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    session_id: str | None = None
    variables: Variables | None = None
    resumable: bool | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Meta(ge=1)] | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    reasoning_effort: str | None = None
    service_tier: str | None = None
    prompt_cache_key: str | None = None
    safety_identifier: str | None = None
    logprobs: Literal[False] | None = None
    n: Literal[1] | None = None
    response_format: TextFormat | None = None
    user: str | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None
    tools: _Nothing | None = None
    tool_choice: Literal["none", "auto"] | None = None
    parallel_tool_calls: bool | None = None
    functions: _Nothing | None = None
    function_call: Literal["none", "auto"] | None = None
    modalities: list[Literal["text"]] | None = None
    logit_bias: Annotated[dict[str, float], Meta(max_length=0)] | None = None
    top_logprobs: Literal[0] | None = None
    verbosity: None = None
    prediction: None = None
    audio: None = None
    web_search_options: None = None
    moderation: None = None
    prompt_cache_retention: None = None
    prompt_cache_options: None = None

    def sampling(self) -> dict[str, Any]:
        """Return the fields that a model behind the agent is given."""
        names = (
            *("temperature", "top_p", "max_tokens", "max_completion_tokens", "seed", "stop"),
            *("presence_penalty", "frequency_penalty", "reasoning_effort", "service_tier"),
            *("prompt_cache_key", "safety_identifier"),
        )
        values = {name: getattr(self, name) for name in names}
        return {name: value for name, value in values.items() if value is not None}


class PromptTokensDetails(msgspec.Struct):
    """How many of the prompt's tokens the model had read before."""

    cached_tokens: int


class Usage(msgspec.Struct):
    """Token counts."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails | UnsetType = UNSET
    completion_tokens_details: JsonObject | UnsetType = UNSET


class AnswerMessage(msgspec.Struct):
    """The assistant's message. `refusal` is required by OpenAI's schema, be it null."""

    content: str | None
    role: Literal["assistant"] = "assistant"
    refusal: str | None = None
    tool_calls: list[FunctionCall | CustomCall] | UnsetType = UNSET
    reasoning_content: str | UnsetType = UNSET
    annotations: list[JsonObject] | UnsetType = UNSET
    audio: JsonObject | UnsetType = UNSET


class Choice(msgspec.Struct):
    """One answer. `logprobs` is required by OpenAI's schema, be it null."""

    message: AnswerMessage
    finish_reason: str
    index: int = 0
    logprobs: JsonObject | None = None


class ChatCompletion(msgspec.Struct):
    """A whole answer; `references`, `session_id` and `message_id` are Naru's, on agents."""

    id: str
    created: int
    model: str
    choices: list[Choice]
    usage: Usage | UnsetType = UNSET
    object: Literal["chat.completion"] = "chat.completion"
    service_tier: str | UnsetType = UNSET
    system_fingerprint: str | UnsetType = UNSET
    references: list[Reference] | UnsetType = UNSET
    session_id: str | UnsetType = UNSET
    index_context_info: list[IndexContext] | UnsetType = UNSET
    message_id: str | UnsetType = UNSET


class Delta(msgspec.Struct):
    """What a chunk adds."""

    role: str | UnsetType = UNSET
    content: str | UnsetType = UNSET


class ChunkChoice(msgspec.Struct):
    """One answer's part in a chunk."""

    delta: Delta
    finish_reason: str | None = None
    index: int = 0
    logprobs: None = None


class ChatChunk(msgspec.Struct):
    """A part of a streamed answer.

    `usage` is absent unless asked for; then null on every chunk but the last.
    """

    id: str
    created: int
    model: str
    choices: list[ChunkChoice]
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    usage: Usage | UnsetType | None = UNSET
    references: list[Reference] | UnsetType = UNSET
    session_id: str | UnsetType = UNSET
    index_context_info: list[IndexContext] | UnsetType = UNSET
    message_id: str | UnsetType = UNSET
