"""Events as they may be stored, however their text is cut."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from config.masking import MaskingSettings
from gateway.govern.masking.masking import Masking
from gateway.govern.masking.policy import Policy
from gateway.openai.responses import Event
from gateway.responses.events import StorableEvents

TEXT = "전화 010-9183-2746, mina@example.org 로, 고마워"
MASKED = "전화 [PHONE], [EMAIL] 로, 고마워"
MASK = Policy.of({"default": "mask"})


def _numbered(*events: dict[str, Any]) -> list[Event]:
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


def _deltas(kind: str, parts: list[str], **where: Any) -> list[dict[str, Any]]:
    return [{"type": f"response.{kind}.delta", "delta": part, **where} for part in parts]


def _cut(text: str, cuts: list[int]) -> list[str]:
    ends = sorted({cut for cut in cuts if 0 < cut < len(text)})
    starts = [0, *ends]
    return [text[start:end] for start, end in zip(starts, [*ends, len(text)], strict=True)]


async def _stored(policy: Policy, events: list[Event]) -> list[Event]:
    storable = StorableEvents(Masking(MaskingSettings()), policy)
    return [told for event in events for told in await storable.take(event)]


def _said(events: list[Event], kind: str) -> str:
    return "".join(each["delta"] for each in events if each["type"] == f"response.{kind}.delta")


@given(cuts=st.lists(st.integers(0, len(TEXT)), max_size=12), ended=st.booleans())
async def test_deltas_together_are_the_masked_text(*, cuts: list[int], ended: bool) -> None:
    where = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    done = [{"type": "response.output_text.done", "text": TEXT, **where}] * ended
    last = {"type": "response.completed", "response": {"output": [{"text": TEXT}]}}
    deltas = _deltas("output_text", _cut(TEXT, cuts), **where, logprobs=[{"token": "010"}])
    told = await _stored(MASK, _numbered(*deltas, *done, last))
    assert [each["sequence_number"] for each in told] == list(range(len(told)))
    assert len(told) == len(deltas) + ended + 1
    assert _said(told, "output_text") == MASKED
    assert "9183" not in str(told)
    assert "mina" not in str(told)
    assert told[-1]["response"]["output"][0]["text"] == MASKED
    assert all(each.get("logprobs", []) == [] for each in told)


async def test_texts_that_come_in_turns_are_told_apart_and_in_order() -> None:
    first, second = [
        _deltas("function_call_arguments", list(TEXT), item_id=f"fc_{at}", output_index=at)
        for at in range(2)
    ]
    mixed = [event for pair in zip(first, second, strict=True) for event in pair]
    kind = "response.function_call_arguments.done"
    ends = [
        {"type": kind, "arguments": TEXT, "item_id": f"fc_{at}", "output_index": at}
        for at in (1, 0)
    ]
    told = await _stored(MASK, _numbered(*mixed, *ends))
    assert [each["sequence_number"] for each in told] == list(range(len(mixed) + 2))
    for at in range(2):
        own = [each for each in told if each["item_id"] == f"fc_{at}"]
        assert _said(own, "function_call_arguments") == MASKED
        assert own[-1]["arguments"] == MASKED


async def test_what_is_not_decided_waits() -> None:
    where = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    storable = StorableEvents(Masking(MaskingSettings()), MASK)
    first, second = _numbered(*_deltas("output_text", ["010-9183", "-2746"], **where))
    assert await storable.take(first) == []
    (told,) = await storable.take(second)
    assert told["sequence_number"] == 0
    assert "9183" not in told["delta"]


async def test_without_a_policy_events_are_stored_as_they_come() -> None:
    events = _numbered(*_deltas("output_text", list(TEXT), item_id="msg_1"))
    assert await _stored(Policy(), events) == events
