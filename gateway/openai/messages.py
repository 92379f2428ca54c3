"""Messages of a chat completion request, each role with what it must have."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Name = Annotated[str, Meta(min_length=1, max_length=64)]
ImageDetail = Literal["auto", "low", "high", "original"]


class TextPart(msgspec.Struct, tag_field="type", tag="text"):
    """Text in a message's content."""

    text: str


class ImageUrl(msgspec.Struct, omit_defaults=True):
    """An image: a data URL, or one of a host that `media.allowed_hosts` lists."""

    url: str
    detail: ImageDetail | None = None


class ImagePart(msgspec.Struct, tag_field="type", tag="image_url"):
    """An image in a message's content."""

    image_url: ImageUrl


class InputAudio(msgspec.Struct):
    """Audio, base64."""

    data: str
    format: Literal["wav", "mp3"]


class AudioPart(msgspec.Struct, tag_field="type", tag="input_audio"):
    """Audio in a message's content."""

    input_audio: InputAudio


class InputFile(msgspec.Struct, omit_defaults=True):
    """A file: its content as a data URL, or an uploaded file's id."""

    filename: str | None = None
    file_data: str | None = None
    file_id: str | None = None

    def __post_init__(self) -> None:
        if bool(self.file_data) == bool(self.file_id):
            raise ValueError("a file has either file_data or file_id")


class FilePart(msgspec.Struct, tag_field="type", tag="file"):
    """A file in a message's content; engines take none."""

    file: InputFile


class RefusalPart(msgspec.Struct, tag_field="type", tag="refusal"):
    """A refusal in an assistant's content."""

    refusal: str


class CalledFunction(msgspec.Struct):
    """What a model called."""

    name: Name
    arguments: str


class FunctionCall(msgspec.Struct, tag_field="type", tag="function"):
    """A function that a model called."""

    id: str
    function: CalledFunction


class CalledTool(msgspec.Struct):
    """What a model called, with free text."""

    name: Name
    input: str


class CustomCall(msgspec.Struct, tag_field="type", tag="custom"):
    """A custom tool that a model called."""

    id: str
    custom: CalledTool


class AudioAnswer(msgspec.Struct):
    """An earlier answer in audio."""

    id: str


_Texts = str | Annotated[list[TextPart], Meta(min_length=1)]
_UserContent = (
    str | Annotated[list[TextPart | ImagePart | AudioPart | FilePart], Meta(min_length=1)]
)
_AssistantContent = str | Annotated[list[TextPart | RefusalPart], Meta(min_length=1)]
_ToolCalls = Annotated[list[FunctionCall | CustomCall], Meta(max_length=128)]


class SystemMessage(msgspec.Struct, tag_field="role", tag="system", omit_defaults=True):
    """Instructions."""

    content: _Texts
    name: Name | None = None


class DeveloperMessage(msgspec.Struct, tag_field="role", tag="developer", omit_defaults=True):
    """Instructions, in OpenAI's newer word."""

    content: _Texts
    name: Name | None = None


class UserMessage(msgspec.Struct, tag_field="role", tag="user", omit_defaults=True):
    """What a user says."""

    content: _UserContent
    name: Name | None = None


class AssistantMessage(msgspec.Struct, tag_field="role", tag="assistant", omit_defaults=True):
    """What a model said; reasoning is passed on to engines, whose templates may use it."""

    content: _AssistantContent | None = None
    tool_calls: _ToolCalls | None = None
    refusal: str | None = None
    name: Name | None = None
    audio: AudioAnswer | None = None
    function_call: CalledFunction | None = None
    reasoning_content: str | None = None

    def __post_init__(self) -> None:
        said = (self.content, self.refusal, self.audio, self.function_call)
        if not self.tool_calls and all(part is None for part in said):
            raise ValueError("an assistant's message needs content, tool_calls or refusal")


class ToolMessage(msgspec.Struct, tag_field="role", tag="tool"):
    """What a tool answered to the call `tool_call_id`."""

    content: _Texts
    tool_call_id: str


class FunctionMessage(msgspec.Struct, tag_field="role", tag="function"):
    """What a function answered, in OpenAI's older word."""

    content: str | None
    name: Name


RequestMessage = (
    SystemMessage
    | DeveloperMessage
    | UserMessage
    | AssistantMessage
    | ToolMessage
    | FunctionMessage
)
