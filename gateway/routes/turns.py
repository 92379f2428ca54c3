"""An agent's turn over HTTP: once for every Idempotency-Key, resumable where that is asked."""

import hashlib
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import msgspec
from litestar import Request, Response

from config.scope import TenantScope
from gateway.agents.draft import Question
from gateway.agents.registry import Agent
from gateway.agents.turns import TurnGone, TurnParts, Turns, parts_of
from gateway.errors import GatewayError, InvalidRequest, KeyReused
from gateway.lifespan import Services
from gateway.presence import while_connected
from gateway.routes.agent_chunks import ChunkTelling
from gateway.routes.agent_events import EventTelling
from gateway.routes.generation import served_by
from gateway.sessions.parts import Opened
from gateway.sessions.turns import Keeping, KeptTurn, missing
from gateway.sse import EventStream

Telling = EventTelling | ChunkTelling
"""How a turn is told; stored with it, so that it is told the same way again."""

_KEY = re.compile(r"[!-~](?:[ -~]{0,253}[!-~])?", re.ASCII)
_EVENT_ID = re.compile(r"(?:(msg_[0-9a-f]{32})\.)?([0-9]{1,9})", re.ASCII)
_ATTEMPTS = 3
_REPLAYED = {"idempotent-replayed": "true"}
_decode_telling = msgspec.json.Decoder(Telling).decode


@dataclass(frozen=True, slots=True)
class Ask:
    """What a route asks of an agent, and how the turn is told."""

    agent: Agent
    question: Question
    telling: Telling
    stream: bool
    resumable: bool


@dataclass(frozen=True, slots=True)
class SeenEvent:
    """The last event that a client has seen; `message_id` is None where it names none."""

    message_id: str | None = None
    number: int = 0


async def respond(
    ask: Ask, request: Request[Any, Any, Any], caller: TenantScope, services: Services
) -> Response[Any]:
    """Run the turn and answer, streamed or not; or tell again what was answered before.

    Raises:
        InvalidRequest: A header can't be understood.
        KeyReused: The Idempotency-Key, or the Last-Event-ID, is of another request.
    """
    if ask.resumable and not ask.stream:
        raise InvalidRequest("resumable: only with `stream: true`", param="resumable")
    turns, keeping = services.turns, await _keeping(ask, request)
    if keeping is None:
        return await _answer_once(ask, request, caller, turns)
    seen = seen_event(request) if ask.stream else SeenEvent()
    if seen.message_id:
        turn = await turns.store.read(caller, seen.message_id)
        if turn.request != keeping.request:
            raise KeyReused(
                "Last-Event-ID: it is of another request: send that one again",
                param="last-event-id",
                code="event_of_another_request",
            )
        return await while_connected(request, go_on(turn, seen.number, caller, turns))
    return await while_connected(request, _answer_kept(ask, keeping, seen.number, caller, turns))


async def go_on(turn: KeptTurn, after: int, caller: TenantScope, turns: Turns) -> Response[Any]:
    """Return what a stream tells behind the event of number `after`.

    Where it has told everything that is 204: browsers come back again and again until then.

    Raises:
        NotFound: It was not streamed.
    """
    telling = _decode_telling(turn.shape)
    if turn.ended and after >= await _count(telling, turns.follow(caller, turn.message_id)):
        return Response(None, status_code=204)
    return await _streamed(telling, turns.follow(caller, turn.message_id), after)


def seen_event(request: Request[Any, Any, Any]) -> SeenEvent:
    """Return what `Last-Event-ID` says.

    Raises:
        InvalidRequest: It is no event of ours.
    """
    given = request.headers.get("last-event-id", "")
    if not given:
        return SeenEvent()
    found = _EVENT_ID.fullmatch(given)
    if found is None:
        raise InvalidRequest(
            "Last-Event-ID: send the `id` of the last event that came, as it came",
            param="last-event-id",
        )
    return SeenEvent(found[1], int(found[2]))


async def _answer_once(
    ask: Ask, request: Request[Any, Any, Any], caller: TenantScope, turns: Turns
) -> Response[Any]:
    told = ask.telling
    if not ask.stream:
        answer = await while_connected(request, turns.answer(caller, ask.agent, ask.question))
        return Response(told.reply(answer), headers=served_by(answer.served))
    live = await while_connected(request, turns.stream(caller, ask.agent, ask.question))
    return _TurnFrames(told, parts_of(live)).stream(served_by(live.served))


async def _answer_kept(
    ask: Ask, keeping: Keeping, after: int, caller: TenantScope, turns: Turns
) -> Response[Any]:
    """Answer once for all who send the key; whoever finds the process dead takes over."""
    for attempt in range(_ATTEMPTS):
        begun = await turns.keep(caller, ask.agent, ask.question, keeping, stream=ask.stream)
        headers = {} if begun.ours else _REPLAYED
        try:
            shape = keeping.shape if begun.ours else await turns.shape(caller, begun.message_id)
            telling = _decode_telling(shape)
            if ask.stream:
                parts = turns.follow(caller, begun.message_id)
                return await _streamed(telling, parts, after, headers)
            answer = await turns.outcome(caller, begun.message_id)
        except TurnGone:
            if begun.ours or attempt == _ATTEMPTS - 1:
                raise
        else:
            told = headers | served_by(answer.served)
            return Response(telling.reply(answer), headers=told)
    raise AssertionError


async def _streamed(
    telling: Telling, parts: TurnParts, after: int, headers: dict[str, str] | None = None
) -> Response[Any]:
    """Return a kept turn as a stream; errors before the first content are raised here."""
    opened = await anext(parts)
    if not isinstance(opened, Opened):
        await parts.aclose()
        raise missing()
    frames = _TurnFrames(telling, _again(opened, parts), after, kept_as=telling.message_id)
    return frames.stream(served_by(opened) | (headers or {}))


async def _again(opened: Opened, parts: TurnParts) -> TurnParts:
    async with aclosing(parts):
        yield opened
        async for part in parts:
            yield part


class _TurnFrames:
    """A turn's events as frames, but those up to `after`; of a kept turn each has an id.

    Attributes:
        number: Of the last event.
    """

    def __init__(
        self, telling: Telling, parts: TurnParts, after: int = 0, kept_as: str | None = None
    ) -> None:
        self.number = 0
        self._telling = telling
        self._parts = parts
        self._after = after
        self._kept_as = kept_as
        self._failed = False

    def stream(self, headers: dict[str, str]) -> EventStream:
        """Return the answer."""
        return EventStream(self.frames(), headers, self._error)

    async def frames(self) -> AsyncGenerator[bytes, None]:
        """Yield the frames; close them."""
        opened: Opened | None = None
        try:
            async with aclosing(self._parts) as parts:
                async for part in parts:
                    if isinstance(part, Opened):
                        opened = part
                    for frame in self._telling.frames(opened, part) if opened else ():
                        self.number += 1
                        if self.number > self._after:
                            yield frame.encode(self._id())
        except GatewayError as error:
            # The last event of a turn that failed; that the turn is gone, or we are, is none.
            self._failed = not isinstance(error, TurnGone)
            self.number += self._failed
            raise

    def _id(self) -> str | None:
        return f"{self._kept_as}.{self.number}" if self._kept_as else None

    def _error(self, payload: bytes) -> bytes:
        return self._telling.error(payload).encode(self._id() if self._failed else None)


async def _count(telling: Telling, parts: TurnParts) -> int:
    """Return how many events an ended turn has."""
    told = _TurnFrames(telling, parts)
    async with aclosing(told.frames()) as frames:
        try:
            async for _ in frames:
                pass
        except GatewayError:
            return told.number
    return told.number


async def _keeping(ask: Ask, request: Request[Any, Any, Any]) -> Keeping | None:
    key = _idempotency_key(request)
    if key is None and not ask.resumable:
        return None
    # The same fields are the same request, however they are written.
    body = msgspec.json.encode(msgspec.json.decode(await request.body()), order="sorted")
    path = request.scope["path"].encode(errors="surrogatepass")
    local = b"local" if ask.question.local_only else b"any"
    asked = hashlib.sha256(b"\n".join([path, local, body])).digest()
    hashed = None if key is None else hashlib.sha256(key.encode()).digest()
    return Keeping(asked, hashed, msgspec.json.encode(ask.telling))


def _idempotency_key(request: Request[Any, Any, Any]) -> str | None:
    given = request.headers.getall("idempotency-key", [])
    if not given:
        return None
    if len(given) > 1 or not _KEY.fullmatch(given[0]):
        raise InvalidRequest(
            "Idempotency-Key: send one of 1 to 255 printable ASCII characters",
            param="idempotency-key",
        )
    return given[0]
