"""Reading streams of the Responses API, and what must hold of every one of them."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
from openai_schema import faults

PATH = "/v1/responses"
LAST = {"response.completed", "response.incomplete", "response.failed"}


def events_of(text: str) -> list[dict[str, Any]]:
    """The events of a stream's text; each frame is named by its event's type."""
    events = []
    for frame in text.split("\n\n"):
        if not frame or frame.startswith(":"):
            continue
        name, data = frame.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        events.append(event)
    return events


def check_stream(events: list[dict[str, Any]], *, first: int = 0) -> dict[str, Any]:
    """Return the last event's response; everything fits OpenAI's schema and goes together."""
    for event in events:
        assert not faults(event, "ResponseStreamEvent"), event
    numbers = [event["sequence_number"] for event in events]
    assert numbers == list(range(first, first + len(events)))
    response = events[-1]["response"]
    assert events[-1]["type"] in LAST
    assert not faults(response, "Response")
    if first == 0 and response["status"] in ("completed", "incomplete"):
        assert _told(events) == response["output"]
    return response


def _told(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The items as the events alone tell them: what was added, piece by piece, and was done."""
    added: dict[int, dict[str, Any]] = {}
    done: dict[int, dict[str, Any]] = {}
    pieces: dict[tuple[int, int], str] = {}
    for event in events:
        kind, at = event["type"], event.get("output_index", -1)
        if kind == "response.output_item.added":
            assert at not in added
            added[at] = event["item"]
        elif kind == "response.output_item.done":
            assert event["item"]["id"] == added[at]["id"]
            done[at] = event["item"]
        elif kind.endswith(".delta"):
            assert event["item_id"] == added[at]["id"]
            key = at, event.get("content_index", 0)
            pieces[key] = pieces.get(key, "") + event["delta"]
    for (at, place), text in pieces.items():
        item = done[at]
        if item["type"] == "function_call":
            assert item["arguments"] == text
        else:
            part = item["content"][place]
            assert part.get("text", part.get("refusal")) == text
    assert sorted(done) == sorted(added) == list(range(len(done)))
    return [done[at] for at in sorted(done)]


async def make(http: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    """Ask, and return the response; it fits OpenAI's schema."""
    answer = await http.post(PATH, json=body)
    assert answer.status_code == 200, answer.text
    assert not faults(answer.json(), "Response")
    return answer.json()


async def make_stream(http: httpx.AsyncClient, **body: Any) -> list[dict[str, Any]]:
    """Ask for a stream, and return its events."""
    answer = await http.post(PATH, json=body | {"stream": True})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert "[DONE]" not in answer.text
    return events_of(answer.text)


def text_of(response: dict[str, Any]) -> str:
    """Everything that is said in a response."""
    return "".join(
        part.get("text", "")
        for item in response["output"]
        if item["type"] == "message"
        for part in item["content"]
    )


async def frames_of(answer: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    """Each event as it comes."""
    buffer = ""
    async for text in answer.aiter_text():
        buffer += text
        *whole, buffer = buffer.split("\n\n")
        for frame in whole:
            for event in events_of(frame + "\n\n"):
                yield event
