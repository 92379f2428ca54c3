"""The body of `POST /v1/chat/completions`: every field of OpenAI's API, typed and bounded.

A null means that the field is absent. Fields that are not here are the business of
`gateway.openai.engine_fields`.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from gateway.openai.messages import Name, RequestMessage, TextPart

Penalty = Annotated[float, Meta(ge=-2, le=2)]
Probability = Annotated[float, Meta(ge=0, le=1)]
Temperature = Annotated[float, Meta(ge=0, le=2)]
Positive = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Seed = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Answers = Annotated[int, Meta(ge=1, le=128)]
Word = Annotated[str, Meta(max_length=512)]
FunctionName = Annotated[str, Meta(pattern=r"^[a-zA-Z0-9_-]{1,64}$(?!\n)")]
"""Of a function, or of a JSON schema."""
Stop = (
    Annotated[str, Meta(min_length=1, max_length=1000)]
    | Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=1000)]], Meta(min_length=1, max_length=4)
    ]
)
TokenId = Annotated[str, Meta(pattern=r"^[0-9]{1,9}$(?!\n)")]
LogitBias = Annotated[dict[TokenId, Annotated[float, Meta(ge=-100, le=100)]], Meta(max_length=1024)]
Metadata = Annotated[
    dict[Annotated[str, Meta(max_length=64)], Annotated[str, Meta(max_length=512)]],
    Meta(max_length=16),
]
JsonObject = dict[str, Any]


class StreamOptions(msgspec.Struct, omit_defaults=True):
    """Options of a streamed answer."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class FunctionDefinition(msgspec.Struct, omit_defaults=True):
    """A function that a model may call; `parameters` is a JSON schema."""

    name: FunctionName
    description: str | None = None
    parameters: JsonObject | None = None
    strict: bool | None = None


class FunctionTool(msgspec.Struct, tag_field="type", tag="function"):
    """A function as a tool."""

    function: FunctionDefinition


class CustomTool(msgspec.Struct, tag_field="type", tag="custom"):
    """A tool that takes free text."""

    custom: JsonObject


class NamedFunction(msgspec.Struct):
    """A function's name."""

    name: Name


class ChosenFunction(msgspec.Struct, tag_field="type", tag="function"):
    """The function that must be called."""

    function: NamedFunction


class ChosenCustomTool(msgspec.Struct, tag_field="type", tag="custom"):
    """The custom tool that must be called."""

    custom: NamedFunction


class AllowedTools(msgspec.Struct, tag_field="type", tag="allowed_tools"):
    """Those of the tools that may be called."""

    allowed_tools: JsonObject


class TextFormat(msgspec.Struct, tag_field="type", tag="text", forbid_unknown_fields=True):
    """Plain text."""


class JsonFormat(msgspec.Struct, tag_field="type", tag="json_object"):
    """Any JSON object."""


class JsonSchema(msgspec.Struct, omit_defaults=True):
    """A JSON schema with a name."""

    name: FunctionName
    description: str | None = None
    schema: JsonObject | None = None
    strict: bool | None = None


class JsonSchemaFormat(msgspec.Struct, tag_field="type", tag="json_schema"):
    """JSON that fits a schema."""

    json_schema: JsonSchema


class Prediction(msgspec.Struct, tag_field="type", tag="content"):
    """What the answer will most likely be: a hint that saves time."""

    content: str | Annotated[list[TextPart], Meta(min_length=1)]


class AudioOutput(msgspec.Struct):
    """How an answer in audio sounds."""

    voice: str | JsonObject
    format: Literal["wav", "aac", "mp3", "flac", "opus", "pcm16"]


ToolChoice = Literal["none", "auto", "required"] | ChosenFunction | ChosenCustomTool | AllowedTools
ReasoningEffort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class ChatRequest(msgspec.Struct, omit_defaults=True, kw_only=True):
    """A chat completion request."""

    model: str
    messages: Annotated[list[RequestMessage], Meta(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Temperature | None = None
    top_p: Probability | None = None
    max_tokens: Positive | None = None
    max_completion_tokens: Positive | None = None
    n: Answers | None = None
    seed: Seed | None = None
    stop: Stop | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: LogitBias | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    tools: Annotated[list[FunctionTool | CustomTool], Meta(max_length=128)] | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    functions: Annotated[list[FunctionDefinition], Meta(max_length=128)] | None = None
    function_call: Literal["none", "auto"] | NamedFunction | None = None
    response_format: TextFormat | JsonFormat | JsonSchemaFormat | None = None
    reasoning_effort: ReasoningEffort | None = None
    verbosity: Literal["low", "medium", "high"] | None = None
    prediction: Prediction | None = None
    modalities: Annotated[list[Literal["text", "audio"]], Meta(max_length=2)] | None = None
    audio: AudioOutput | None = None
    web_search_options: JsonObject | None = None
    moderation: JsonObject | None = None
    service_tier: Word | None = None
    store: bool | None = None
    metadata: Metadata | None = None
    user: Word | None = None
    safety_identifier: Annotated[str, Meta(max_length=64)] | None = None
    prompt_cache_key: Word | None = None
    prompt_cache_retention: Literal["in_memory", "24h"] | None = None
    prompt_cache_options: JsonObject | None = None
