"""Every text in a request: what is changed, what is left alone."""

from typing import Any

import msgspec
import pytest

from gateway.govern.masking.hide import Blocked, Hider
from gateway.govern.masking.policy import Policy
from gateway.govern.masking.walk import changed

MASK = Hider(Policy.of({"default": "mask"})).whole
PHONE, ACCOUNT = "010-1234-5678", "352-1234-5678-93"


@pytest.mark.parametrize(
    ("value", "masked"),
    [
        ({"messages": [{"role": "user", "content": PHONE}]}, "messages[0].content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": PHONE}]}]},
            "messages[0].content[0].text",
        ),
        ({"messages": [{"role": "tool", "tool_call_id": "1", "content": PHONE}]}, ""),
        ({"messages": [{"role": "assistant", "reasoning_content": PHONE}]}, ""),
        ({"messages": [{"role": "assistant", "refusal": PHONE}]}, ""),
        ({"messages": [{"role": "user", "name": "hong@example.com", "content": "x"}]}, ""),
        ({"messages": [{"tool_calls": [{"id": "1", "custom": {"input": PHONE}}]}]}, ""),
        ({"messages": [{"function_call": {"name": "f", "arguments": PHONE}}]}, ""),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "description": PHONE}}]},
            "tools[0].function.description",
        ),
        ({"tools": [{"function": {"parameters": {"enum": [PHONE]}}}]}, ""),
        ({"functions": [{"name": "f", "description": PHONE}]}, ""),
        ({"response_format": {"json_schema": {"description": PHONE}}}, ""),
        ({"prediction": {"type": "content", "content": PHONE}}, ""),
        ({"prompt": PHONE}, "prompt"),
        ({"prompt": ["x", PHONE]}, "prompt[1]"),
        ({"input": [PHONE]}, "input[0]"),
        ({"user": "hong@example.com"}, "user"),
        ({"metadata": {"id": PHONE}}, "metadata"),
        ({"metadata": {PHONE: "x"}}, ""),
        ({"stop": [PHONE]}, ""),
        ({"messages": [{"content": [{"image_url": {"url": f"https://x/{PHONE}"}}]}]}, ""),
        ({"messages": [{"content": [{"file": {"filename": f"{PHONE}.pdf"}}]}]}, ""),
        ({"messages": [{"content": f"data: {PHONE}"}]}, "messages[0].content"),
        ({"messages": [{"content": f"data:text/plain;base64,{PHONE}"}]}, "messages[0].content"),
        ({"messages": [{"image_url": {"url": f"data:a/b;base64,x {PHONE}"}}]}, ""),
        ({"metadata": {"data": PHONE, "format": "x"}}, "metadata"),
        ({"messages": msgspec.Raw(msgspec.json.encode([{"content": PHONE}]))}, "messages[0]"),
    ],
)
def test_every_part_of_a_request_is_looked_at(value: dict[str, Any], masked: str) -> None:
    text = msgspec.json.encode(changed(value, MASK)).decode()
    assert PHONE not in text
    assert "hong@" not in text
    assert "[PHONE]" in text or "[EMAIL]" in text
    with pytest.raises(Blocked) as blocked:
        changed(value, Hider(Policy.of({"default": "block"})).whole)
    assert "".join(reversed(blocked.value.path)).removeprefix(".").startswith(masked)


@pytest.mark.parametrize(
    "value",
    [
        {"messages": [{"content": [{"image_url": {"url": f"data:image/png;base64,{PHONE}"}}]}]},
        {"messages": [{"content": [{"input_audio": {"data": f"A{PHONE}", "format": "wav"}}]}]},
        {"messages": [{"content": [{"file": {"file_data": f"x{PHONE}"}}]}]},
        {"messages": [{"tool_call_id": f"call-{PHONE}", "role": "tool"}]},
        {"prompt": [1012345678, 9001011234567], "seed": 9001011234567, "temperature": 0.5},
        {"logit_bias": {"50256": -100}},
    ],
)
def test_media_ids_and_numbers_of_the_api_are_left_alone(value: dict[str, Any]) -> None:
    assert changed(value, MASK) == value


def test_of_a_name_that_comes_twice_both_values_are_looked_at() -> None:
    assert _arguments(f'{{"a":"{PHONE}","a":"x"}}') == '{"a":"[PHONE]","a":"x"}'


@pytest.mark.parametrize("depth", [100, 500, 900, 50_000])
def test_no_depth_hides_a_number(depth: int) -> None:
    assert PHONE not in _arguments("[" * depth + f'"{PHONE}"' + "]" * depth)


def _arguments(text: str) -> str:
    call = {"function": {"name": "f", "arguments": text}}
    function: dict[str, str] = changed(call, MASK)["function"]
    return function["arguments"]


@pytest.mark.parametrize(
    ("given", "masked"),
    [
        ('{"to": "010-1234-5678"}', '{"to":"[PHONE]"}'),
        ('{"to": "010\\u002d1234\\u002d5678"}', '{"to":"[PHONE]"}'),
        ('{"rrn": 9001011234567}', '{"rrn":"[RESIDENT]"}'),
        ('{"account_number": "352-1234-5678-93"}', '{"account_number":"[ACCOUNT]"}'),
        ('{"\\uacc4\\uc88c": ["352-1234-5678-93"]}', '{"계좌":["[ACCOUNT]"]}'),
        ('{"010-1234-5678": 1}', '{"[PHONE]":1}'),
        ('{"cut off": "010-1234-5678', '{"cut off": "[PHONE]'),
        ('{ "n": 3.5,  "of": 20260301 }', '{ "n": 3.5,  "of": 20260301 }'),
    ],
)
def test_a_tool_calls_arguments_are_read_as_json(given: str, masked: str) -> None:
    assert _arguments(given) == masked


def test_so_is_a_tools_result_that_escapes_what_it_says() -> None:
    content = '{"\\uacc4\\uc88c": "352-1234-5678-93"}'
    assert changed({"content": content}, MASK) == {"content": '{"계좌":"[ACCOUNT]"}'}
    plain = f'{{"account": "{ACCOUNT}",   "n": 1}}'
    assert changed({"content": plain}, MASK) == {"content": '{"account": "[ACCOUNT]",   "n": 1}'}
