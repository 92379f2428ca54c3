"""Items of the Responses and Conversations APIs: what is said, called, thought and looked up.

OpenAI API reference, `InputItem` and `OutputItem`. Absent fields stay absent (`UNSET`).
"""

import uuid
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from gateway.errors import InvalidRequest
from gateway.openai.chat_request import JsonObject
from gateway.openai.messages import ImageDetail, Name

Status = Literal["in_progress", "completed", "incomplete"]
Role = Literal["user", "assistant", "system", "developer"]
CallId = Annotated[str, Meta(min_length=1, max_length=256)]

_KINDS = ("message", "function_call", "function_call_output", "reasoning", "file_search_call")


class InputText(msgspec.Struct, tag_field="type", tag="input_text"):
    """Text that goes in."""

    text: str


class InputImage(msgspec.Struct, tag_field="type", tag="input_image"):
    """An image: a data URL, a URL of `media.allowed_hosts`, or an uploaded file's id."""

    image_url: str | UnsetType | None = UNSET
    file_id: str | UnsetType | None = UNSET
    detail: ImageDetail = "auto"

    def __post_init__(self) -> None:
        if bool(self.image_url) == bool(self.file_id):
            raise ValueError("an input_image has either image_url or file_id")


class InputFile(msgspec.Struct, tag_field="type", tag="input_file"):
    """A file: its content as a data URL, or an uploaded file's id."""

    file_id: str | UnsetType | None = UNSET
    filename: str | UnsetType | None = UNSET
    file_data: str | UnsetType | None = UNSET
    file_url: str | UnsetType | None = UNSET

    def __post_init__(self) -> None:
        if self.file_url:
            raise ValueError("file_url: remote files are not fetched; upload it, or send file_data")
        if bool(self.file_data) == bool(self.file_id):
            raise ValueError("an input_file has either file_data or file_id")


class OutputText(msgspec.Struct, tag_field="type", tag="output_text"):
    """Text that a model said."""

    text: str
    annotations: list[JsonObject] = []
    logprobs: list[JsonObject] = []


class RefusalText(msgspec.Struct, tag_field="type", tag="refusal"):
    """A model's refusal."""

    refusal: str


class ReasoningText(msgspec.Struct, tag_field="type", tag="reasoning_text"):
    """What a model thought."""

    text: str


InputPart = InputText | InputImage | InputFile
OutputPart = OutputText | RefusalText
_Parts = Annotated[list[InputPart | OutputPart], Meta(max_length=1000)]


class Message(msgspec.Struct, tag_field="type", tag="message"):
    """What somebody says; a string as `content` becomes one part of text."""

    role: Role
    content: str | _Parts
    id: str = ""
    status: Status = "completed"

    def __post_init__(self) -> None:
        if isinstance(self.content, str):
            said = self.role == "assistant"
            self.content = [OutputText(self.content) if said else InputText(self.content)]
        for part in self.content:
            if isinstance(part, InputImage | InputFile) and self.role != "user":
                raise ValueError("images and files stand in messages of the user")

    @property
    def parts(self) -> _Parts:
        """Return the content."""
        assert not isinstance(self.content, str), "made a list at once"  # noqa: S101
        return self.content

    @property
    def text(self) -> str:
        """Return the parts that are text as one string."""
        told = (InputText, OutputText)
        return "\n".join(part.text for part in self.parts if isinstance(part, told))


class FunctionCallItem(msgspec.Struct, tag_field="type", tag="function_call"):
    """A function that a model called."""

    call_id: CallId
    name: Name
    arguments: str
    id: str = ""
    status: Status = "completed"


class FunctionCallOutput(msgspec.Struct, tag_field="type", tag="function_call_output"):
    """What the function answered."""

    call_id: CallId
    output: str | list[InputText]
    id: str = ""
    status: Status = "completed"

    @property
    def text(self) -> str:
        """Return the answer as one string."""
        if isinstance(self.output, str):
            return self.output
        return "\n".join(part.text for part in self.output)


class Reasoning(msgspec.Struct, tag_field="type", tag="reasoning"):
    """What a model thought before it answered; there are no summaries here."""

    id: str = ""
    summary: list[JsonObject] = []
    content: list[ReasoningText] | None = []
    status: Status = "completed"

    @property
    def text(self) -> str:
        """Return the thoughts as one string."""
        return "".join(part.text for part in self.content or ())


class FileSearchCall(msgspec.Struct, tag_field="type", tag="file_search_call"):
    """A search in vector stores; `results` where they were asked for."""

    id: str = ""
    queries: list[str] = []
    status: Literal["in_progress", "searching", "completed", "incomplete", "failed"] = "completed"
    results: list[JsonObject] | UnsetType | None = UNSET


Item = Message | FunctionCallItem | FunctionCallOutput | Reasoning | FileSearchCall

_PREFIXES: dict[type, str] = {
    Message: "msg",
    FunctionCallItem: "fc",
    FunctionCallOutput: "fco",
    Reasoning: "rs",
    FileSearchCall: "fs",
}


def new_item_id(item: Item) -> str:
    """Return an id for an item."""
    return f"{_PREFIXES[type(item)]}_{uuid.uuid4().hex}"


def read_items(given: object, param: str) -> list[Item]:
    """Return the items that a caller sends; a message may leave its `type` out.

    Raises:
        InvalidRequest: One of them is of another type or breaks its form; `param` names it.
    """
    if not isinstance(given, list):
        raise InvalidRequest(f"{param}: an array of items is needed", param=param)
    return [_read_item(item, f"{param}[{place}]") for place, item in enumerate(given)]


def _read_item(given: object, param: str) -> Item:
    if not isinstance(given, dict):
        raise InvalidRequest(f"{param}: an object is needed", param=param)
    kind = given.get("type") or ("message" if "role" in given else "item_reference")
    if kind == "item_reference":
        raise _refused(param, "send the item itself, or name `previous_response_id`")
    if kind not in _KINDS:
        raise _refused(f"{param}.type", f"items here are {', '.join(_KINDS)}")
    values = _without_nulls(given)
    for name in ("content", "output"):
        if isinstance(parts := values.get(name), list):
            values[name] = [_without_nulls(part) for part in parts]
    try:
        item: Item = msgspec.convert(values | {"type": kind}, Item)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        where = param + path.removesuffix("`")
        raise InvalidRequest(f"{where}: {message}", param=where) from None
    return item


def _without_nulls(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Return an object without its nulls: what an SDK's object holds where nothing is said."""
    return {k: v for k, v in value.items() if v is not None} if isinstance(value, dict) else value


def _refused(param: str, reason: str) -> InvalidRequest:
    return InvalidRequest(f"{param}: {reason}", param=param, code="unsupported_item")
