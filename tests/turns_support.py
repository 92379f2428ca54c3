"""Turns as tests make, slow down and read them."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import httpx
from aiohttp import web
from upstream_support import DONE, STOP, Upstream

from config.scope import TenantScope
from config.settings import SessionSettings
from gateway.sessions.store import Sessions, Turn
from gateway.sessions.turns import NewTurn, TurnStore


async def store_turn(
    pool: asyncpg.Pool,
    scope: TenantScope,
    session_id: str,
    turn: Turn,
    sessions: Sessions | None = None,
) -> None:
    """Let a turn arrive and end."""
    store = TurnStore(pool, SessionSettings(), None)
    await store.begin(scope, NewTurn(turn.message_id, session_id, turn.agent, turn.question))
    await (sessions or Sessions(pool)).add_turn(scope, session_id, turn)


def aside(body: dict[str, Any]) -> bool:
    """Tell whether a model is asked for something beside an answer, such as a whole question."""
    return "<passage" not in json.dumps(body)


@dataclass
class SlowModel:
    """A model that says a word each time it may; `waiting` is set while it has one to say.

    `overlapped` tells whether two prompts were answered at a time.
    """

    words: tuple[str, ...] = ("하나", " 둘", " 셋", " 넷")
    asked: list[list[dict[str, Any]]] = field(default_factory=list)
    busy: int = 0
    most_busy: int = 0
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    _may: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    _started: asyncio.Condition = field(default_factory=asyncio.Condition)

    def say(self, words: int) -> None:
        """Let it say so many words more, whoever asked."""
        for _ in range(words):
            self._may.release()

    async def started(self, prompts: int) -> None:
        """Return when so many prompts came in altogether."""
        async with asyncio.timeout(20), self._started:
            await self._started.wait_for(lambda: len(self.asked) >= prompts)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        if aside(body):
            return web.json_response({"error": {"message": "not now"}}, status=400)
        async with self._started:
            self.asked.append(body["messages"])
            self._started.notify_all()
        self.busy += 1
        self.most_busy = max(self.busy, self.most_busy)
        try:
            return await (self._stream(request) if body.get("stream") else self._whole())
        finally:
            self.busy -= 1
            self.ended.set()

    async def _whole(self) -> web.StreamResponse:
        for _ in self.words:
            await self._may.acquire()
        choice = {"message": {"content": "".join(self.words)}, "finish_reason": "stop"}
        return web.json_response({"choices": [choice]})

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for word in self.words:
            await self._may.acquire()
            chunk = {"choices": [{"delta": {"content": word}}]}
            await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        await response.write(STOP + DONE)
        return response


def play_slowly(upstream: Upstream, *words: str) -> SlowModel:
    """Let the hosted API be such a model."""
    model = SlowModel(words) if words else SlowModel()
    upstream.answer = model.answer
    return model


@dataclass(frozen=True)
class Event:
    """One event as a plain client of server-sent events sees it."""

    id: str
    name: str
    data: Any


def read_event(frame: str) -> Event | None:
    """The event of a frame, or None of a comment."""
    fields = dict(line.split(": ", 1) for line in frame.split("\n") if not line.startswith(":"))
    if "data" not in fields:
        return None
    told = fields["data"]
    data = told if told == "[DONE]" else json.loads(told)
    return Event(fields.get("id", ""), fields.get("event", "message"), data)


async def events_of(answer: httpx.Response) -> AsyncIterator[Event]:
    """The events of a stream as they come."""
    rest = ""
    async for text in answer.aiter_text():
        *frames, rest = (rest + text).split("\n\n")
        for frame in frames:
            if event := read_event(frame):
                yield event


def all_events(text: str) -> list[Event]:
    """The events of a stream that has ended."""
    return [event for frame in text.split("\n\n") if frame and (event := read_event(frame))]
