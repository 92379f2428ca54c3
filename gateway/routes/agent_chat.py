"""`/v1/agents/{name}/chat`: what product teams call."""

import time
from collections.abc import AsyncGenerator
from typing import Any

import msgspec
from litestar import Request, Response, post
from litestar.params import FromPath, JSONBody

from gateway.agents.draft import AgentAnswer, Question
from gateway.agents.question import check_message
from gateway.agents.registry import find_agent
from gateway.agents.run import LiveAnswer
from gateway.agents.variables import filled
from gateway.guards import Caller, needs
from gateway.lifespan import Provided
from gateway.openai.agents import (
    AgentEvent,
    AgentMessage,
    AgentReply,
    CitationEvent,
    DeltaEvent,
    DoneEvent,
    FoundPassage,
    RetrievalEvent,
    SessionEvent,
)
from gateway.openai.chat import AgentChatRequest, ChatCompletion
from gateway.presence import while_connected
from gateway.routes.agent_completions import complete_as_agent
from gateway.routes.generation import served_by, stays_local
from gateway.sessions.store import check_session_id, new_session_id
from gateway.sse import EventStream, event


@post(
    "/v1/agents/{name:str}/chat",
    opt=needs("agents"),
    status_code=200,
    tags=["agents"],
    operation_id="chat_with_agent",
)
async def chat(
    name: FromPath[str],
    data: JSONBody[AgentMessage],
    request: Request[Any, Any, Any],
    caller: Caller,
    services: Provided,
) -> Response[AgentReply]:
    """Ask an agent; with `stream` the answer comes as typed events."""
    session_id = _session_id(data.session_id)
    agent = await find_agent(services.pool, caller, name, affinity=session_id)
    agent = filled(agent, data.variables)
    text = check_message(data.message, services.limits.max_message_chars, "message")
    question = Question(text, session_id, local_only=stays_local(request, caller))
    if not data.stream:
        turn = services.agents.answer(caller, agent, question)
        answer = await while_connected(request, turn)
        reply = _reply(answer, agent.name, session_id)
        return Response(reply, headers=served_by(answer.served))
    opening = services.agents.stream(caller, agent, question)
    live = await while_connected(request, opening)
    frames = _frames(live, agent.name, session_id)
    return EventStream(frames, served_by(live.served), on_error=_error_frame)


@post(
    "/v1/agents/{name:str}/chat/completions",
    opt=needs("agents"),
    status_code=200,
    tags=["agents"],
    operation_id="create_agent_completion",
)
async def chat_completions(
    name: FromPath[str],
    data: JSONBody[AgentChatRequest],
    request: Request[Any, Any, Any],
    caller: Caller,
    services: Provided,
) -> Response[ChatCompletion]:
    """Ask an agent in OpenAI's shape; the answer carries `session_id` and `references`."""
    session_id = _session_id(data.session_id)
    agent = await find_agent(services.pool, caller, name, affinity=session_id)
    return await complete_as_agent(agent, data, request, caller, services, session_id)


def _session_id(given: str | None) -> str:
    return new_session_id() if given is None else check_session_id(given)


def _reply(answer: AgentAnswer, agent: str, session_id: str) -> AgentReply:
    return AgentReply(
        response=answer.text,
        references=answer.references,
        session_id=session_id,
        message_id=answer.message_id,
        agent=agent,
        model=answer.model,
        answered=answer.answered,
        agent_version=answer.agent_version,
        index_version=answer.index_version,
        usage=answer.usage,
        created=int(time.time()),
    )


async def _frames(live: LiveAnswer, agent: str, session_id: str) -> AsyncGenerator[bytes, None]:
    yield _frame(SessionEvent(session_id))
    passages = live.retrieval.passages
    found = [FoundPassage(p.source, p.page, round(p.score, 4), p.chunk_id) for p in passages]
    yield _frame(RetrievalEvent(found))
    try:
        async for part in live.parts:
            if isinstance(part, str):
                yield _frame(DeltaEvent(part))
                continue
            for reference in part.references:
                yield _frame(CitationEvent(reference))
            yield _frame(DoneEvent(_reply(part, agent, session_id)))
    finally:
        await live.parts.aclose()


def _frame(value: AgentEvent) -> bytes:
    name = type(value).__struct_config__.tag
    return event(str(name), msgspec.json.encode(value))


def _error_frame(payload: bytes) -> bytes:
    return event("error", b'{"type":"error",' + payload.removeprefix(b"{"))


HANDLERS = [chat, chat_completions]
