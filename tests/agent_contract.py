"""What must hold of everything that an agent answers, in either contract."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from openai_schema import faults
from sse_reader import SentEvent

from gateway.openai.agents import (
    AgentEvent,
    AgentReply,
    CitationEvent,
    DeltaEvent,
    DoneEvent,
    FoundPassage,
    RetrievalEvent,
    SessionEvent,
)
from gateway.openai.chat import ChatChunk
from gateway.openai.references import IndexContext, Reference

_ORDER = re.compile("session retrieval( delta)*( citation)* done")


def fits(data: str, struct: Any) -> Any:
    """Return the value; it has every field that the struct has, and no other."""
    value = msgspec.json.decode(data, type=struct)
    assert msgspec.to_builtins(value) == json.loads(data)
    return value


def without_end(events: Sequence[SentEvent]) -> list[SentEvent]:
    """The events before `[DONE]`, which stands at the end and nowhere else."""
    *told, done = events
    assert (done.type, done.data) == ("message", "[DONE]")
    assert all(event.data != "[DONE]" for event in told)
    return told


def check_events(events: Sequence[SentEvent]) -> AgentReply:
    """Return the reply of a stream of typed events, which all go together."""
    told = without_end(events)
    assert _ORDER.fullmatch(" ".join(event.type for event in told))
    assert all(event.type == json.loads(event.data)["type"] for event in told)
    session, retrieval, *between, done = [_typed(event.data) for event in told]
    assert isinstance(done, DoneEvent)
    reply = done.reply
    assert session == SessionEvent(reply.session_id, reply.message_id)
    assert isinstance(retrieval, RetrievalEvent)
    assert "".join(e.text for e in between if isinstance(e, DeltaEvent)) == reply.response
    assert [e.reference for e in between if isinstance(e, CitationEvent)] == reply.references
    _check_references(reply.response, reply.references, retrieval.passages)
    return reply


def _typed(data: str) -> AgentEvent:
    event: AgentEvent = fits(data, AgentEvent)
    return event


def _check_references(
    text: str, references: list[Reference], passages: list[FoundPassage] | None = None
) -> None:
    """Every `[n]` has its reference and the other way round; each was found."""
    cited = sorted({int(number) for number in re.findall(r"\[(\d{1,3})\]", text)})
    assert cited == sorted(reference.index for reference in references)
    assert all(each.end - each.start == len(each.content) for each in references)
    if passages is not None:
        found = {(passage.chunk_id, passage.source, passage.page) for passage in passages}
        assert {(each.chunk_id, each.source, each.page) for each in references} <= found


@dataclass(frozen=True)
class Told:
    """What a stream of chunks tells altogether."""

    text: str
    finish_reason: str
    references: list[Reference]
    session_id: Any


def check_chunks(events: Sequence[SentEvent], *, usage: bool, context: bool) -> Told:
    """Return what the chunks tell; `context` as VMware Private AI Services tells references."""
    told = without_end(events)
    assert {event.type for event in told} == {"message"}
    for event in told:
        assert not faults(json.loads(event.data), "CreateChatCompletionStreamResponse")
    chunks: list[ChatChunk] = [fits(event.data, ChatChunk) for event in told]
    shared = {(c.id, c.created, c.model, str(c.session_id), str(c.message_id)) for c in chunks}
    assert len(shared) == 1
    if usage:
        *chunks, counted = chunks
        assert (counted.choices, counted.references) == ([], msgspec.UNSET)
        assert counted.usage
    assert {chunk.usage for chunk in chunks} == {None if usage else msgspec.UNSET}
    first, *_, last = chunks
    assert first.choices[0].delta.role == "assistant"
    assert [chunk for chunk in chunks if chunk.choices[0].finish_reason] == [last]
    assert [chunk for chunk in chunks if chunk.references is not msgspec.UNSET] == [last]
    told_again = [chunk for chunk in chunks if chunk.index_context_info is not msgspec.UNSET]
    assert told_again == ([last] if context else [])
    return _told(chunks, last)


def _told(chunks: list[ChatChunk], last: ChatChunk) -> Told:
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert isinstance(last.references, list)
    _check_references(text, last.references)
    if isinstance(last.index_context_info, list):
        _check_context(last.index_context_info, last.references)
    assert last.choices[0].finish_reason
    return Told(text, last.choices[0].finish_reason, last.references, last.session_id)


def _check_context(context: list[IndexContext], references: list[Reference]) -> None:
    assert [(each.text, each.metadata["chunk_id"]) for each in context] == [
        (reference.content, reference.chunk_id) for reference in references
    ]
