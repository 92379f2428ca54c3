"""`/v1/sessions`: the caller's own conversations."""

from typing import Annotated, Any, TypeVar

import msgspec
from litestar import Request, Response, Router, delete, get, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from msgspec import Meta

from gateway.errors import InvalidRequest
from gateway.guards import Caller, needs
from gateway.lifespan import Provided
from gateway.openai.knowledge import ListPage
from gateway.routes.pages import Limit, page
from gateway.routes.turns import go_on, seen_event
from gateway.sessions.store import Session, StoredMessage, check_session_id, new_session_id
from gateway.sessions.turns import missing

_NEEDED = needs("agents")
_Item = TypeVar("_Item")
_MessageLimit = Annotated[int, QueryParameter(ge=1, le=1000)]


class ForkSession(msgspec.Struct, forbid_unknown_fields=True):
    """Body of a fork: what the copy is called, and the last message that goes into it."""

    session_id: str | None = None
    message_id: Annotated[str, Meta(min_length=1)] | None = None


@get("/", opt=_NEEDED, operation_id="list_sessions")
async def list_all(
    caller: Caller, services: Provided, limit: Limit = 20, after: FromQuery[str | None] = None
) -> ListPage[Session]:
    """List the caller's sessions, the last used first; those behind the session `after`."""
    return page(await services.sessions.newest(caller, limit + 1, after), limit, _itself)


@get("/{session_id:str}", opt=_NEEDED, operation_id="get_session")
async def get_one(session_id: FromPath[str], caller: Caller, services: Provided) -> Session:
    """Return one session."""
    await services.turns.store.settle(caller, session_id)
    return await services.sessions.find(caller, session_id)


@delete("/{session_id:str}", opt=_NEEDED, operation_id="delete_session")
async def remove(session_id: FromPath[str], caller: Caller, services: Provided) -> None:
    """Delete a session with its messages and whatever was made of them."""
    await services.sessions.delete(caller, session_id)


@post("/{session_id:str}/fork", opt=_NEEDED, operation_id="fork_session")
async def fork(
    session_id: FromPath[str], data: JSONBody[ForkSession], caller: Caller, services: Provided
) -> Session:
    """Copy a session, up to a message where one is named, and return the copy."""
    name = data.session_id
    copy = new_session_id() if name is None else check_session_id(name)
    await services.turns.store.settle(caller, session_id)
    return await services.sessions.fork(caller, session_id, copy, data.message_id)


@get("/{session_id:str}/messages", opt=_NEEDED, operation_id="list_messages")
async def messages(
    session_id: FromPath[str],
    caller: Caller,
    services: Provided,
    limit: _MessageLimit = 100,
    after: FromQuery[str | None] = None,
) -> ListPage[StoredMessage]:
    """Return a session's messages, oldest first; those behind the message `after`."""
    await services.turns.store.settle(caller, session_id)
    found = await services.sessions.messages(caller, session_id, limit + 1, after)
    return page(found, limit, _itself)


@get("/{session_id:str}/messages/{message_id:str}", opt=_NEEDED, operation_id="get_message")
async def message(
    session_id: FromPath[str], message_id: FromPath[str], caller: Caller, services: Provided
) -> StoredMessage:
    """Return one message."""
    return await services.sessions.message(caller, session_id, message_id)


@get(
    "/{session_id:str}/messages/{message_id:str}/stream",
    opt=_NEEDED,
    operation_id="resume_stream",
)
async def stream(
    session_id: FromPath[str],
    message_id: FromPath[str],
    request: Request[Any, Any, Any],
    caller: Caller,
    services: Provided,
) -> Response[None]:
    """Tell a resumable stream's events again, those behind `Last-Event-ID`; 204 behind the last."""
    seen = seen_event(request)
    if seen.message_id not in (None, message_id):
        raise InvalidRequest("Last-Event-ID: it is of another message", param="last-event-id")
    turn = await services.turns.store.read(caller, message_id)
    if turn.session_id != session_id:
        raise missing()
    return await go_on(turn, seen.number, caller, services.turns)


def _itself(item: _Item) -> _Item:
    return item


ROUTER = Router(
    "/v1/sessions",
    route_handlers=[list_all, get_one, remove, fork, messages, message, stream],
    tags=["sessions"],
)
