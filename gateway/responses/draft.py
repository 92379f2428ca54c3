"""A response while it grows: its items, and the events that tell them in their order."""

import time
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from gateway.errors import Answer
from gateway.openai.chat_request import JsonObject
from gateway.openai.references import Reference, file_citations
from gateway.openai.response_items import (
    FileSearchCall,
    FunctionCallItem,
    Item,
    Message,
    OutputText,
    Reasoning,
    ReasoningText,
    RefusalText,
    Status,
    new_item_id,
)
from gateway.openai.responses import (
    Event,
    IncompleteDetails,
    Response,
    ResponseFault,
)
from gateway.openai.said import (
    CallPart,
    Cited,
    Counted,
    Ended,
    Named,
    Refusal,
    Said,
    Searched,
    Text,
    Thought,
)

_EARLY_ENDS: dict[str, Literal["max_output_tokens", "content_filter"]] = {
    "length": "max_output_tokens",
    "content_filter": "content_filter",
}


class Draft:
    """Makes items out of what is said, one response's worth.

    Its methods return the events that have become due; whoever wants the whole response alone drops
    them. `sequence` is the next event's number.
    """

    def __init__(self, response: Response, *, sequence: int = 0, message_id: str = "") -> None:
        self.response = response
        self.sequence = sequence
        self._message_id = message_id
        self._due: list[Event] = []
        self._open: Message | Reasoning | None = None
        self._at = 0
        self._calls: dict[int, tuple[int, FunctionCallItem]] = {}
        self._reason = "stop"

    def begin(self) -> list[Event]:
        """Tell that there is a response, and that it is worked on."""
        if self.sequence == 0:
            self._tell_response("created")
        self._tell_response("in_progress")
        return self._take_due()

    def take(self, said: Said) -> list[Event]:
        """Take a part of the answer."""
        match said:
            case Named(model, tier):
                self.response.model = model or self.response.model
                self.response.service_tier = tier or self.response.service_tier
            case Counted(usage):
                self.response.usage = usage
            case Ended(reason):
                self._reason = reason
            case Thought(text):
                self._add_thought(_storable(text))
            case Text(text, logprobs):
                self._add_text(_storable(text), logprobs)
            case Refusal(text):
                self._add_refusal(_storable(text))
            case CallPart():
                self._add_call(said)
            case Searched(call):
                self._search(call)
            case Cited(references):
                self._annotate(references)
        return self._take_due()

    def finish(self) -> list[Event]:
        """End as the answer ended, and return the events before the last one."""
        early = _EARLY_ENDS.get(self._reason)
        self._close_all("incomplete" if early else "completed")
        if early:
            self.response.incomplete_details = IncompleteDetails(early)
        self._end("incomplete" if early else "completed")
        return self._take_due()

    def fail(self, error: Answer) -> None:
        """End with an error, described as a route would answer it."""
        self._close_all("incomplete", tell=False)
        self.response.error = fault_of(error)
        self._end("failed")

    def cancel(self) -> None:
        """End because nobody waits any more."""
        self._close_all("incomplete", tell=False)
        self._end("cancelled")

    def last(self) -> Event:
        """Return the last event, which holds the whole response."""
        return last_event(self.response, self._next())

    def _end(self, status: Literal["completed", "incomplete", "failed", "cancelled"]) -> None:
        self.response.status = status
        self.response.completed_at = int(time.time()) if status == "completed" else None

    def _search(self, call: FileSearchCall) -> None:
        self._end_before_next()
        whole = msgspec.structs.replace(call, id=new_item_id(call))
        self._at = len(self.response.output)
        self.response.output.append(whole)
        begun = msgspec.structs.replace(whole, status="in_progress", results=msgspec.UNSET)
        self._tell_item("added", self._at, begun)
        for step in ("in_progress", "searching", "completed"):
            self._tell(f"file_search_call.{step}", output_index=self._at, item_id=whole.id)
        self._tell_item("done", self._at, whole)

    def _annotate(self, references: Sequence[Reference]) -> None:
        """Say where the message's text comes from."""
        part = self._open.parts[-1] if isinstance(self._open, Message) else None
        if isinstance(part, OutputText):
            known = len(part.annotations)
            part.annotations = file_citations(part.text, references)
            for place, annotation in enumerate(part.annotations[known:], start=known):
                kind = "output_text.annotation.added"
                self._tell_part(kind, annotation_index=place, annotation=annotation)

    def _add_thought(self, text: str) -> None:
        if not isinstance(self._open, Reasoning):
            self._open_item(Reasoning(content=[ReasoningText("")]))
            self._tell_part("content_part.added", part=ReasoningText(""))
        assert isinstance(self._open, Reasoning)  # noqa: S101 - opened above
        assert self._open.content  # noqa: S101
        self._open.content[0].text += text
        self._tell_part("reasoning_text.delta", delta=text)

    def _add_text(self, text: str, logprobs: Sequence[JsonObject]) -> None:
        if not text and not logprobs:
            return
        part = self._part(OutputText("", [], []))
        assert isinstance(part, OutputText)  # noqa: S101 - of the same kind
        part.text += text
        part.logprobs += logprobs
        self._tell_part("output_text.delta", delta=text, logprobs=list(logprobs))

    def _add_refusal(self, text: str) -> None:
        part = self._part(RefusalText(""))
        assert isinstance(part, RefusalText)  # noqa: S101 - of the same kind
        part.refusal += text
        self._tell_part("refusal.delta", delta=text)

    def _part(self, empty: OutputText | RefusalText) -> object:
        """Return the message's last part where it is of that kind, else a new one."""
        if not isinstance(self._open, Message):
            self._open_item(Message("assistant", [], id=self._message_id))
            self._message_id = ""
        assert isinstance(self._open, Message)  # noqa: S101 - opened above
        parts = self._open.parts
        if not parts or type(parts[-1]) is not type(empty):
            self._close_part()
            parts.append(empty)
            self._tell_part("content_part.added", part=empty)
        return parts[-1]

    def _add_call(self, said: CallPart) -> None:
        if said.index not in self._calls:
            self._end_before_next()
            call = FunctionCallItem(said.call_id, said.name, "", status="in_progress")
            call.id = new_item_id(call)
            self._calls[said.index] = len(self.response.output), call
            self.response.output.append(call)
            self._tell_item("added", self._calls[said.index][0], call)
        at, call = self._calls[said.index]
        if call.status != "in_progress":
            return  # behind a whole object there is nothing but white space
        call.arguments += said.arguments
        if said.arguments:
            where = {"item_id": call.id, "output_index": at}
            self._tell("function_call_arguments.delta", **where, delta=said.arguments)

    def _open_item(self, item: Message | Reasoning) -> None:
        self._end_before_next()
        item.id = item.id or new_item_id(item)
        item.status = "in_progress"
        self._open, self._at = item, len(self.response.output)
        self.response.output.append(item)
        begun = msgspec.structs.replace(item, content=[])
        self._tell_item("added", self._at, begun)

    def _close_all(self, status: Status, *, tell: bool = True) -> None:
        self._close_open(status)
        for at, call in self._calls.values():
            self._end_call(at, call, status)
        if not tell:
            self.sequence -= len(self._take_due())

    def _end_before_next(self) -> None:
        """End what is whole, as OpenAI does before the next item begins.

        A call whose arguments are no object yet stays open: its server tells several in turns.
        """
        self._close_open("completed")
        for at, call in self._calls.values():
            if _is_object(call.arguments):
                self._end_call(at, call, "completed")

    def _end_call(self, at: int, call: FunctionCallItem, status: Status) -> None:
        if call.status != "in_progress":
            return
        call.status = status
        where = {"item_id": call.id, "output_index": at}
        done = {"name": call.name, "arguments": call.arguments}
        self._tell("function_call_arguments.done", **where, **done)
        self._tell_item("done", at, call)

    def _close_open(self, status: Status) -> None:
        if self._open:
            self._close_part()
            self._open.status = status
            self._tell_item("done", self._at, self._open)
            self._open = None

    def _close_part(self) -> None:
        content = self._open and self._open.content
        if not content or isinstance(content, str):
            return
        part = content[-1]
        match part:
            case OutputText(text, _, logprobs):
                self._tell_part("output_text.done", text=text, logprobs=logprobs)
            case RefusalText(refusal):
                self._tell_part("refusal.done", refusal=refusal)
            case ReasoningText(text):
                self._tell_part("reasoning_text.done", text=text)
        self._tell_part("content_part.done", part=part)

    def _tell_part(self, kind: str, **fields: Any) -> None:  # noqa: ANN401 - JSON
        assert self._open and self._open.content is not None  # noqa: S101, PT018 - it has parts
        place = max(len(self._open.content) - 1, 0)
        where = {"item_id": self._open.id, "output_index": self._at, "content_index": place}
        self._tell(kind, **where, **fields)

    def _tell_item(self, what: Literal["added", "done"], at: int, item: Item) -> None:
        self._tell(f"output_item.{what}", output_index=at, item=item)

    def _tell_response(self, what: str) -> None:
        self._tell(what, response=self.response)

    def _tell(self, kind: str, **fields: Any) -> None:  # noqa: ANN401 - JSON
        # As it is now: items go on growing.
        told = msgspec.to_builtins(fields)
        self._due.append({"type": f"response.{kind}", "sequence_number": self._next(), **told})

    def _next(self) -> int:
        self.sequence += 1
        return self.sequence - 1

    def _take_due(self) -> list[Event]:
        due, self._due = self._due, []
        return due


def last_event(response: Response, number: int) -> Event:
    """Return the event that ends a stream; a cancelled response ends as an incomplete one."""
    status = "incomplete" if response.status == "cancelled" else response.status
    told = msgspec.to_builtins(response)
    return {"type": f"response.{status}", "sequence_number": number, "response": told}


def fault_of(error: Answer) -> ResponseFault:
    """Return why a response failed, in the few words of OpenAI's schema."""
    if error.status == 429:
        return ResponseFault("rate_limit_exceeded", error.error.message)
    own = 400 <= error.status < 429
    return ResponseFault("invalid_prompt" if own else "server_error", error.error.message)


def _is_object(text: str) -> bool:
    try:
        return isinstance(msgspec.json.decode(text), dict)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return False


def _storable(text: str) -> str:
    """Return text as PostgreSQL takes it."""
    return text.replace("\0", "\ufffd")
