"""A reader of server-sent events, written from WHATWG HTML §9.2.5 and §9.2.6 alone."""

import codecs
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import httpx

_LINE_END = re.compile(r"\r\n|\n|\r")


@dataclass(frozen=True)
class SentEvent:
    """An event as an `EventSource` hands it out; `id` is its `lastEventId`."""

    type: str
    data: str
    id: str


class SseReader:
    """Reads a stream as it comes, cut anywhere.

    Attributes:
        last_event_id: What a client that comes back sends as `Last-Event-ID`.
        retry_ms: When it is to come back, where the stream says so.
    """

    def __init__(self) -> None:
        self.last_event_id = ""
        self.retry_ms: int | None = None
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._rest = ""
        self._after_cr = False
        self._id = self._type = self._data = ""

    def feed(self, part: bytes) -> Iterator[SentEvent]:
        """Yield the events that end in this part; one that never ends is none."""
        text = self._decoder.decode(part)
        if text:
            # A CRLF may be cut in two; its line has ended with the first half.
            text = text.removeprefix("\n") if self._after_cr else text
            self._after_cr = text.endswith("\r")
        *lines, self._rest = _LINE_END.split(self._rest + text)
        for line in lines:
            if line:
                self._field(line)
            elif event := self._dispatch():
                yield event

    def _field(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._type = value
        elif name == "data":
            self._data += value + "\n"
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and re.fullmatch("[0-9]+", value):
            self.retry_ms = int(value)

    def _dispatch(self) -> SentEvent | None:
        self.last_event_id = self._id
        type_, data = self._type or "message", self._data
        self._type = self._data = ""
        return SentEvent(type_, data.removesuffix("\n"), self._id) if data else None


async def sent_events(answer: httpx.Response) -> AsyncIterator[SentEvent]:
    """The events of an answer as they come."""
    assert answer.status_code == 200, await answer.aread()
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-accel-buffering"] == "no"
    reader = SseReader()
    async for part in answer.aiter_bytes():
        for event in reader.feed(part):
            yield event
