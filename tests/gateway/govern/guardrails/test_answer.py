"""Answers that end before a phrase."""

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from config.guardrails import DenySettings
from gateway.govern.guardrails.answer import CutAnswer, CutText
from gateway.govern.guardrails.deny import Deny

DENY = Deny(DenySettings(phrases=("담배", "trade secret", "acme"), answers=True))
WORDS = [
    "담배",
    "담배를",
    "담배꽁초",
    "trade",
    " secret",
    "secrets",
    "acme",
    "me",
    "는",
    " ",
    "-",
    "x",
]


def cut(*parts: str) -> tuple[str, bool]:
    cuts = list[bool]()
    text = CutText([DENY], lambda: cuts.append(True))
    said = "".join([*map(text.push, parts), text.finish()])
    return said, bool(cuts)


def test_a_text_ends_before_a_phrase() -> None:
    assert cut("이것은 담배입니다. 끝") == ("이것은 ", True)
    assert cut("이것은 담배꽁초입니다. 끝") == ("이것은 담배꽁초입니다. 끝", False)


@given(st.lists(st.sampled_from(WORDS), max_size=40), st.lists(st.integers(1, 9), max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_split_gives_the_same(words: list[str], lengths: list[int]) -> None:
    whole, parts, at = "".join(words), list[str](), 0
    for length in lengths:
        parts.append(whole[at : at + length])
        at += length
    assert cut(*parts, whole[at:]) == cut(whole)
    found = DENY.pattern.search(whole)
    assert cut(whole) == ((whole[: found.start()], True) if found else (whole, False))


def test_no_more_is_held_back_than_a_phrase_may_take() -> None:
    text = CutText([DENY], lambda: None)
    assert len(text.push("가 " * 5000)) == 10_000 - DENY.longest


def _whole(message: dict[str, Any]) -> dict[str, Any]:
    choices = [
        {"index": 0, "message": message, "finish_reason": "stop"},
        {"index": 1, "message": {"content": "fine"}, "finish_reason": "length"},
    ]
    body = CutAnswer([DENY], lambda: None).whole(msgspec.json.encode({"choices": choices}))
    answer: dict[str, Any] = msgspec.json.decode(body)
    assert answer["choices"][1] == choices[1]
    return {**answer["choices"][0]["message"], "end": answer["choices"][0]["finish_reason"]}


def test_every_text_of_a_choice_is_looked_at_and_no_other_choice_suffers() -> None:
    calls = [
        {"id": str(i), "function": {"name": "f", "arguments": said}}
        for i, said in enumerate(['{"q":"x"}', '{"q":"acme"}'])
    ]
    told = _whole({"content": "hello", "tool_calls": calls})
    assert told["content"] == "hello"
    assert [call["function"]["arguments"] for call in told["tool_calls"]] == ['{"q":"x"}', '{"q":"']
    assert told["end"] == "content_filter"
    assert all("index" not in call for call in told["tool_calls"])
    assert _whole({"content": "hello"}) == {"content": "hello", "end": "stop"}
