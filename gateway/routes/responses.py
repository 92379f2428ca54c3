"""`/v1/responses`: OpenAI's Responses API in front of every model and agent."""

from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, delete, get, post, route
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from gateway.bodies import check_text
from gateway.errors import NotFound
from gateway.guards import Caller, needs
from gateway.lifespan import Provided, Services
from gateway.openai.errors import ErrorBody
from gateway.openai.knowledge import ListPage
from gateway.openai.response_items import Item
from gateway.openai.responses import DeletedResponse, Event
from gateway.openai.responses import Response as ResponseObject
from gateway.openai.responses_request import CreateResponse, check_served
from gateway.presence import while_connected
from gateway.responses.follow import follow
from gateway.responses.turn import Turn, read_turn
from gateway.routes.generation import served_by, stays_local
from gateway.routes.pages import Limit, page
from gateway.sse import EventStream, event
from rag.paging import Order

_NEEDED = needs("inference")
_decode_fields = msgspec.json.Decoder(dict[str, Any]).decode


async def _check_served(request: Request[Any, Any, Any]) -> None:
    """Refuse by name what is not served, before a type is found to be wrong."""
    await check_text(request)
    with suppress(msgspec.DecodeError):
        check_served(_decode_fields(await request.body()))


@post(
    "/v1/responses",
    opt=_NEEDED,
    before_request=_check_served,
    status_code=200,
    tags=["responses"],
    operation_id="create_response",
)
async def create(
    data: JSONBody[CreateResponse],
    request: Request[Any, Any, Any],
    caller: Caller,
    services: Provided,
) -> Response[ResponseObject]:
    """Answer, streamed or not, at once or in the background."""
    body = _decode_fields(await request.body())
    turn = read_turn(body, local_only=stays_local(request.scope, caller))
    caller = services.responses.responder.caller(caller, turn)
    if data.background:
        return await _enqueue(turn, body, caller, services)
    if data.stream:
        opening = services.responses.responder.stream(caller, turn)
        live = await while_connected(request, opening)
        frames = EventFrames(live.events)
        return frames.stream(served_by(live.served))
    answered = await while_connected(request, services.responses.responder.answer(caller, turn))
    return Response(answered.response, headers=served_by(answered.served))


@get(
    "/v1/responses/{response_id:str}",
    opt=_NEEDED,
    tags=["responses"],
    operation_id="get_response",
)
async def get_one(
    response_id: FromPath[str],
    caller: Caller,
    services: Provided,
    stream: FromQuery[bool] = False,  # noqa: FBT002 - OpenAI's parameter
    starting_after: Annotated[int, QueryParameter(ge=-1, le=2**31 - 1)] = -1,
) -> Response[ResponseObject]:
    """Return a response; with `stream` its events, those behind `starting_after`."""
    stored = await services.responses.store.find(caller, response_id)
    if not stream:
        return Response(stored.body, media_type="application/json")  # type: ignore[arg-type]
    events = follow(services.responses.store, caller, response_id, starting_after)
    return EventFrames(events, starting_after + 1).stream()


@delete(
    "/v1/responses/{response_id:str}",
    opt=_NEEDED,
    status_code=200,
    tags=["responses"],
    operation_id="delete_response",
)
async def remove(response_id: FromPath[str], caller: Caller, services: Provided) -> DeletedResponse:
    """Delete a response; one of the background that is under way ends."""
    await services.responses.store.delete(caller, response_id)
    return DeletedResponse(response_id)


@post(
    "/v1/responses/{response_id:str}/cancel",
    opt=_NEEDED,
    status_code=200,
    tags=["responses"],
    operation_id="cancel_response",
)
async def cancel(
    response_id: FromPath[str], caller: Caller, services: Provided
) -> Response[ResponseObject]:
    """End a response of the background; one that has ended stays as it is."""
    stored = await services.responses.background.cancel(caller, response_id)
    return Response(stored.body, media_type="application/json")  # type: ignore[arg-type]


@get(
    "/v1/responses/{response_id:str}/input_items",
    opt=_NEEDED,
    tags=["responses"],
    operation_id="list_input_items",
)
async def input_items(
    response_id: FromPath[str],
    caller: Caller,
    services: Provided,
    limit: Limit = 20,
    after: FromQuery[str | None] = None,
    order: FromQuery[Order] = "desc",
) -> ListPage[Item]:
    """List the items that went into a response."""
    items = await services.responses.store.input_of(caller, response_id)
    if order == "desc":
        items.reverse()
    places = {item.id: place for place, item in enumerate(items, start=1)}
    if after and after not in places:
        raise NotFound("no such item in this response", code="item_not_found")
    begin = places.get(after or "", 0)
    return page(items[begin : begin + limit + 1], limit, itself)


def itself(item: Item) -> Item:
    """Return what a list holds: items are stored as they are told."""
    return item


async def _enqueue(
    turn: Turn, body: dict[str, Any], caller: Caller, services: Services
) -> Response[ResponseObject]:
    response = await services.responses.background.enqueue(caller, turn, body)
    if turn.asked.stream:
        return EventFrames(follow(services.responses.store, caller, response.id, -1)).stream()
    return Response(response)


@route(
    ["/v1/responses/input_tokens", "/v1/responses/compact"],
    http_method=["GET", "POST", "DELETE"],
    opt=_NEEDED,
    include_in_schema=False,
)
async def absent() -> None:
    """Answer 404, by which clients know what is not served, not 405 as a response's id would."""
    raise NotFound("this part of the Responses API is not served here")


class EventFrames:
    """Events as frames; an error after the first byte is an event too, with the next number."""

    def __init__(self, events: AsyncGenerator[Event, None], number: int = 0) -> None:
        self._events = events
        self._number = number

    def stream(self, headers: dict[str, str] | None = None) -> EventStream:
        """Return the answer; a stream of responses has no `[DONE]`."""
        return EventStream(self._frames(), headers, self._error, done=b"")

    async def _frames(self) -> AsyncGenerator[bytes, None]:
        try:
            async for each in self._events:
                self._number = each["sequence_number"] + 1
                yield event(each["type"], msgspec.json.encode(each))
        finally:
            await self._events.aclose()

    def _error(self, payload: bytes) -> bytes:
        error = msgspec.json.decode(payload, type=ErrorBody).error
        told = {"code": error.code, "message": error.message, "param": error.param}
        numbered = {"type": "error", "sequence_number": self._number, **told}
        return event("error", msgspec.json.encode(numbered))


HANDLERS = [create, get_one, remove, cancel, input_items, absent]
