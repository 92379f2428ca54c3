"""Events in their order, whatever is said in which order, fit OpenAI's schema and tell it all."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from responses_support import check_stream

from gateway.errors import Answer
from gateway.openai.errors import ErrorObject
from gateway.openai.references import Reference
from gateway.openai.response_items import FileSearchCall
from gateway.openai.responses import Event, Response
from gateway.openai.said import (
    CallPart,
    Cited,
    Ended,
    Named,
    Refusal,
    Said,
    Searched,
    Text,
    Thought,
)
from gateway.responses.draft import Draft

SOURCE = Reference(1, "a.md", None, "text", 0.5, "file-1", "file-1#0", 0, 4)
WORDS = st.text(max_size=5)
SAID = st.one_of(
    st.builds(Text, WORDS),
    st.builds(Thought, WORDS),
    st.builds(Refusal, WORDS),
    st.builds(CallPart, st.integers(0, 2), st.just("call_1"), st.just("f"), WORDS),
    st.just(Searched(FileSearchCall(queries=["q"]))),
    st.just(Cited([SOURCE])),
)


def new_draft() -> Draft:
    template = {"effort": None, "summary": None}
    text = {"format": {"type": "text"}}
    response = Response(id="resp_1", created_at=0, model="m", reasoning=template, text=text)
    return Draft(response)


def told(draft: Draft, *said: Said) -> list[Event]:
    events = draft.begin()
    for part in said:
        events += draft.take(part)
    events += [*draft.finish(), draft.last()]
    return msgspec.json.decode(msgspec.json.encode(events))


@settings(max_examples=60, deadline=None)
@given(st.lists(SAID, max_size=12), st.sampled_from(["stop", "length", "content_filter"]))
def test_anything_in_any_order(said: list[Said], reason: str) -> None:
    response = check_stream(told(new_draft(), *said, Ended(reason)))
    assert response["status"] == ("completed" if reason == "stop" else "incomplete")


@settings(max_examples=60, deadline=None)
@given(st.lists(SAID, max_size=12), st.sampled_from([200, 400, 429, 502]))
def test_a_failure_at_any_time(said: list[Said], status: int) -> None:
    draft = new_draft()
    events = draft.begin()
    for part in said:
        events += draft.take(part)
    draft.fail(Answer(status, ErrorObject("no", "server_error", None, None)))
    events.append(draft.last())
    response = check_stream(msgspec.json.decode(msgspec.json.encode(events)))
    assert response["status"] == "failed"
    codes = {400: "invalid_prompt", 429: "rate_limit_exceeded"}
    assert response["error"] == {"code": codes.get(status, "server_error"), "message": "no"}
    assert all(item["status"] != "in_progress" for item in response["output"])


def test_citations_stand_where_their_markers_do() -> None:
    response = check_stream(
        told(new_draft(), Text("ten days [1]"), Text(" a[2] [1]"), Cited([SOURCE]), Ended("stop"))
    )
    (part,) = response["output"][0]["content"]
    assert [part["text"][each["index"] :][:3] for each in part["annotations"]] == ["[1]", "[1]"]


def test_who_answers_is_named() -> None:
    draft = new_draft()
    draft.take(Named("gpt-x-1", "default"))
    draft.take(Named("", None))
    assert (draft.response.model, draft.response.service_tier) == ("gpt-x-1", "default")


def test_a_whole_call_ends_before_the_next_item_begins() -> None:
    calls = [CallPart(n, f"call_{n}", "f", '{"a":') for n in (0, 1)]
    ends = [CallPart(n, "", "", "1}") for n in (0, 1)]
    order = [calls[0], ends[0], calls[1], CallPart(0, "", "", " "), ends[1], Text("so")]
    events = told(new_draft(), *order, Ended("stop"))
    response = check_stream(events)
    assert [item["status"] for item in response["output"]] == ["completed"] * 3
    assert [item["arguments"] for item in response["output"][:2]] == ['{"a":1}'] * 2
    kinds = [event["type"].partition("output_item.")[2] for event in events]
    assert [kind for kind in kinds if kind] == ["added", "done"] * 3


def test_a_whole_call_stays_whole_where_the_answer_is_cut_off_behind_it() -> None:
    parts = [CallPart(0, "call_0", "f", "{}"), CallPart(1, "call_1", "f", '{"a":')]
    response = check_stream(told(new_draft(), *parts, Ended("length")))
    assert [item["status"] for item in response["output"]] == ["completed", "incomplete"]


def test_calls_that_are_told_in_turns() -> None:
    parts = [CallPart(n, f"call_{n}", "f", "{") for n in (0, 1)] + [
        CallPart(n, "", "", "}") for n in (0, 1)
    ]
    response = check_stream(told(new_draft(), *parts, Ended("tool_calls")))
    assert [item["arguments"] for item in response["output"]] == ["{}", "{}"]
    assert [item["call_id"] for item in response["output"]] == ["call_0", "call_1"]
