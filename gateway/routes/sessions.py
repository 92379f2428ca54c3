"""`/v1/sessions`: the caller's own conversations."""

from typing import Annotated

import msgspec
from litestar import delete, get
from litestar.params import FromPath, QueryParameter

from gateway.guards import Caller, needs
from gateway.lifespan import Provided
from gateway.sessions.store import Session, StoredMessage


class SessionList(msgspec.Struct):
    """The last used first."""

    data: list[Session]


class MessageList(msgspec.Struct):
    """Oldest first."""

    data: list[StoredMessage]


@get("/v1/sessions", opt=needs("agents"), tags=["sessions"], operation_id="list_sessions")
async def list_all(
    caller: Caller,
    services: Provided,
    limit: Annotated[int, QueryParameter(ge=1, le=100)] = 20,
) -> SessionList:
    """List the caller's sessions."""
    return SessionList(await services.sessions.newest(caller, limit))


@get(
    "/v1/sessions/{session_id:str}",
    opt=needs("agents"),
    tags=["sessions"],
    operation_id="get_session",
)
async def get_one(session_id: FromPath[str], caller: Caller, services: Provided) -> Session:
    """Return one session."""
    return await services.sessions.find(caller, session_id)


@delete(
    "/v1/sessions/{session_id:str}",
    opt=needs("agents"),
    tags=["sessions"],
    operation_id="delete_session",
)
async def remove(session_id: FromPath[str], caller: Caller, services: Provided) -> None:
    """Delete a session with its messages."""
    await services.sessions.delete(caller, session_id)


@get(
    "/v1/sessions/{session_id:str}/messages",
    opt=needs("agents"),
    tags=["sessions"],
    operation_id="list_messages",
)
async def messages(session_id: FromPath[str], caller: Caller, services: Provided) -> MessageList:
    """Return a session's messages."""
    return MessageList(await services.sessions.messages(caller, session_id))


HANDLERS = [list_all, get_one, remove, messages]
