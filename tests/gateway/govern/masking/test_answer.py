"""Answers with their texts changed, whole and chunk by chunk."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.govern.masking.answer import AnswerChange
from gateway.govern.masking.kinds import Kind
from gateway.govern.masking.masking import hiding_answer
from gateway.govern.masking.policy import Policy
from gateway.govern.masking.pseudonyms import Pseudonyms, Restorer

_PSEUDONYMS = Pseudonyms(b"key", "")
PHONE = _PSEUDONYMS.of(Kind.PHONE, "010-1234-5678")
QUOTED = _PSEUDONYMS.of(Kind.EMAIL, 'a"@x.kr')


def _restoring() -> AnswerChange:
    originals = _PSEUDONYMS.originals
    return AnswerChange(lambda in_json, _: Restorer(originals, in_json=in_json), logprobs=True)


def _hiding() -> AnswerChange:
    return hiding_answer(Policy.of({"default": "mask"}))


def _chunk(delta: dict[str, Any], finish: str | None = None, index: int = 0) -> bytes:
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return msgspec.json.encode({"id": "c", "created": 1, "model": "m", "choices": [choice]})


def _heard(answer: AnswerChange, chunks: list[bytes]) -> list[dict[str, Any]]:
    heard = [msgspec.json.decode(answer.chunk(chunk)) for chunk in chunks]
    rest = answer.rest()
    return heard + ([msgspec.json.decode(rest)] if rest else [])


def _text(heard: list[dict[str, Any]], name: str = "content", index: int = 0) -> str:
    deltas = [
        choice["delta"] for each in heard for choice in each["choices"] if choice["index"] == index
    ]
    return "".join(delta.get(name) or "" for delta in deltas)


def test_a_whole_answer() -> None:
    arguments = f'{{"to":"{QUOTED}"}}'
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": arguments}}
    message = {"role": "assistant", "content": f"call {PHONE}", "tool_calls": [call]}
    body = {"id": "c", "choices": [{"index": 0, "message": message, "logprobs": {"content": []}}]}
    answer = msgspec.json.decode(_restoring().whole(msgspec.json.encode(body)))
    told = answer["choices"][0]
    assert told["message"]["content"] == "call 010-1234-5678"
    assert told["message"]["tool_calls"][0]["function"]["arguments"] == '{"to":"a\\"@x.kr"}'
    assert told["logprobs"] == {"content": []}


def test_tokens_are_not_told_where_the_text_is_hidden() -> None:
    choice = {"message": {"content": "010-1234-5678"}, "logprobs": {"content": [{"token": "010"}]}}
    body = msgspec.json.encode({"choices": [choice]})
    told = msgspec.json.decode(_hiding().whole(body))["choices"][0]
    assert told == {"message": {"content": "[PHONE]"}, "logprobs": None}


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 8), min_size=1, max_size=20))
def test_a_stream_says_what_the_whole_answer_does(sizes: list[int]) -> None:
    text, at, parts = f"전화 {PHONE} 또는 010-9876-5432 로", 0, list[str]()
    for size in [*sizes, len(text)]:
        parts.append(text[at : at + size])
        at += size
    chunks = [_chunk({"content": part}) for part in parts if part] + [_chunk({}, "stop")]
    assert _text(_heard(_restoring(), chunks)) == "전화 010-1234-5678 또는 010-9876-5432 로"
    assert _text(_heard(_hiding(), chunks)) == f"전화 {PHONE} 또는 [PHONE] 로"


def test_answers_beside_each_other_are_texts_of_their_own() -> None:
    chunks = [
        _chunk({"content": PHONE[:8]}),
        _chunk({"content": PHONE[:20]}, index=1),
        _chunk({"content": PHONE[8:]}),
        _chunk({"content": PHONE[20:]}, index=1),
    ]
    heard = _heard(_restoring(), chunks)
    assert [_text(heard, index=index) for index in (0, 1)] == ["010-1234-5678"] * 2


def test_the_rest_comes_with_the_end_or_after_a_stream_without_one() -> None:
    ended = _heard(_restoring(), [_chunk({"content": "P"}), _chunk({}, "stop")])
    assert [each["choices"][0]["delta"] for each in ended] == [{"content": ""}, {"content": "P"}]
    assert ended[1]["choices"][0]["finish_reason"] == "stop"
    cut = _heard(_restoring(), [_chunk({"content": "PII"})])
    assert cut[1] == {
        "id": "c",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "delta": {"content": "PII"}, "finish_reason": None}],
    }


def test_what_was_thought_is_over_when_the_answer_begins() -> None:
    heard = _heard(
        _hiding(),
        [
            _chunk({"reasoning_content": "call 010-1234-"}),
            _chunk({"reasoning_content": "5678"}),
            _chunk({"content": "done"}),
            _chunk({}, "stop"),
        ],
    )
    assert _text(heard[:3], "reasoning_content") == "call [PHONE]"
    assert _text(heard) == "done"


def _call(index: int, **function: str) -> bytes:
    return _chunk({"tool_calls": [{"index": index, "function": function}]})


def test_arguments_of_tool_calls_in_parts() -> None:
    chunks = [
        _chunk({"content": "ok P"}),
        _call(0, name="f", arguments='{"to":"' + QUOTED[:10]),
        _call(0, arguments=QUOTED[10:] + '", "x":"PII'),
        _call(1, name="g", arguments=PHONE),
        _chunk({}, "tool_calls"),
    ]
    heard = _heard(_restoring(), chunks)
    assert _text(heard) == "ok P"
    said = {0: "", 1: ""}
    for each in heard:
        for call in each["choices"][0]["delta"].get("tool_calls", ()):
            said[call["index"]] += call["function"].get("arguments", "")
    assert said == {0: '{"to":"a\\"@x.kr", "x":"PII', 1: "010-1234-5678"}


def test_plain_completions_too() -> None:
    def chunk(text: str, finish: str | None = None) -> bytes:
        choice = {"index": 0, "text": text, "finish_reason": finish, "logprobs": None}
        return msgspec.json.encode({"id": "c", "choices": [choice]})

    heard = _heard(_restoring(), [chunk(PHONE[:9]), chunk(PHONE[9:] + " P"), chunk("", "stop")])
    assert "".join(each["choices"][0]["text"] for each in heard) == "010-1234-5678 P"
    body = msgspec.json.encode({"choices": [{"text": PHONE}]})
    assert msgspec.json.decode(_restoring().whole(body)) == {"choices": [{"text": "010-1234-5678"}]}


@pytest.mark.parametrize(
    ("arguments", "hidden"),
    [
        ('{"account_number":"110123456789"}', '{"account_number":"[ACCOUNT]"}'),
        ('{"passport_no":"123456789"}', '{"passport_no":"[PASSPORT]"}'),
        ('{"memo":"a\\n01012345678"}', '{"memo":"a\\n[PHONE]"}'),
        ('{"memo":"a\\nkim@x.com"}', '{"memo":"a\\n[EMAIL]"}'),
        ('{"memo":"\\ub294900101-1234567"}', '{"memo":"\\ub294[RESIDENT]"}'),
        ('{"rrn":9001011234567}', '{"rrn":"[RESIDENT]"}'),
        ('{"a":"\\"","card":4111111111111111}', '{"a":"\\"","card":"[CARD]"}'),
    ],
)
def test_arguments_are_hidden_alike_whole_and_in_parts(arguments: str, hidden: str) -> None:
    call = {"index": 0, "type": "function", "function": {"name": "f", "arguments": arguments}}
    body = {"choices": [{"index": 0, "message": {"tool_calls": [call]}}]}
    answer = msgspec.json.decode(_hiding().whole(msgspec.json.encode(body)))
    whole = answer["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"]
    assert msgspec.json.decode(whole) == msgspec.json.decode(hidden)
    chunks = [
        _chunk({"tool_calls": [{"index": 0, "function": {"arguments": character}}]})
        for character in arguments
    ]
    deltas = [each["choices"][0]["delta"] for each in _heard(_hiding(), chunks)]
    calls = [call for delta in deltas for call in delta.get("tool_calls", ())]
    assert "".join(call["function"]["arguments"] for call in calls) == hidden


def test_an_answer_that_begins_like_a_data_url_is_hidden() -> None:
    body = msgspec.json.encode({"choices": [{"message": {"content": "data: 010-1234-5678"}}]})
    (told,) = msgspec.json.decode(_hiding().whole(body))["choices"]
    assert told["message"]["content"] == "data: [PHONE]"
