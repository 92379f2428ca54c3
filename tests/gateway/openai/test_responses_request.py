"""The documentation's table says of every field whether it is served."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from openai.types.responses import (
    FunctionTool,
    ResponseFunctionToolCall,
    ResponseFunctionToolCallOutputItem,
    ResponseInputImage,
    ResponseOutputMessage,
    ResponseOutputText,
    ResponseReasoningItem,
    ResponseTextConfig,
)
from openai.types.shared import Reasoning

from gateway.openai import responses_request
from gateway.openai.response_items import read_items
from gateway.openai.responses_request import CreateResponse, read_request

DOCS = Path(__file__).parents[3] / "docs" / "responses.md"


def test_the_tables_name_every_field() -> None:
    served, _, refused = DOCS.read_text().partition("## What answers 400, and why")
    named = set(re.findall(r"`([a-z_]+)(?:\.[a-z_]+)?(?:: auto)?`", served))
    assert set(CreateResponse.__struct_fields__) - {"stream_options"} <= named
    refused = refused.partition("## Files")[0]
    for name in (*responses_request._NOT_SERVED, "item_reference", "file_url", "stream_options"):
        assert name in refused, name


@pytest.mark.parametrize("name", ["a b", "a\n", "", "x" * 65])
def test_names_of_functions_are_letters_digits_and_dashes(name: str) -> None:
    body = {"model": "m", "input": "a", "tools": [{"type": "function", "name": name}]}
    with pytest.raises(msgspec.ValidationError, match=r"\$\.tools\[0\]\.name"):
        msgspec.convert(body, CreateResponse)


def test_objects_of_the_sdk_can_be_sent_back_with_what_they_leave_empty() -> None:
    tool = FunctionTool(type="function", name="f", parameters={}, strict=True, defer_loading=False)
    body = {
        "model": "m",
        "input": "a",
        "tools": [tool.model_dump()],
        "reasoning": Reasoning(effort="low").model_dump(),
        "text": ResponseTextConfig(verbosity="low").model_dump(),
    }
    (read,) = read_request(body).tools or ()
    assert isinstance(read, responses_request.FunctionTool)
    assert (read.name, read.strict) == ("f", True)


def test_items_of_the_sdk_can_be_sent_back_with_what_they_leave_empty() -> None:
    text = ResponseOutputText(type="output_text", text="hi", annotations=[])
    said: dict[str, Any] = {"id": "msg_1", "role": "assistant", "status": "completed"}
    call: dict[str, Any] = {"type": "function_call", "call_id": "c", "name": "f"}
    done: dict[str, Any] = {"id": "o", "type": "function_call_output", "status": "completed"}
    items = [
        ResponseOutputMessage(type="message", content=[text], **said),
        ResponseReasoningItem(type="reasoning", id="rs_1", summary=[]),
        ResponseFunctionToolCall(arguments="{}", **call),
        ResponseFunctionToolCallOutputItem(call_id="c", output="sun", **done),
    ]
    read = read_items([item.model_dump() for item in items], "input")
    assert [type(item).__name__ for item in read] == [
        *("Message", "Reasoning", "FunctionCallItem", "FunctionCallOutput")
    ]
    image = ResponseInputImage(type="input_image", detail="original", image_url="data:,")
    read_items([{"role": "user", "content": [image.model_dump()]}], "input")
