"""An agent behind OpenAI's chat completions: the same turn, told in OpenAI's shape."""

import time
import uuid
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import msgspec
from litestar import Request, Response
from msgspec import UNSET

from auth import require
from gateway.agents.draft import AgentAnswer, Question
from gateway.agents.question import check_message
from gateway.agents.registry import Agent
from gateway.agents.run import LiveAnswer
from gateway.agents.variables import filled
from gateway.errors import InvalidRequest
from gateway.guards import Caller
from gateway.lifespan import Provided
from gateway.openai.chat import (
    AgentChatRequest,
    AnswerMessage,
    ChatChunk,
    ChatCompletion,
    Choice,
    ChunkChoice,
    Delta,
    Usage,
)
from gateway.openai.pais import context_of
from gateway.presence import while_connected
from gateway.routes.generation import served_by, stays_local
from gateway.sessions.store import check_session_id
from gateway.sse import EventStream, data

_ORDERING = ("system", "developer")


async def complete_as_agent(
    agent: Agent,
    asked: AgentChatRequest,
    request: Request[Any, Any, Any],
    caller: Caller,
    services: Provided,
    session_id: str | None,
    *,
    index_context: bool = False,
) -> Response[ChatCompletion]:
    """Run the agent's turn and answer as a chat completion, streamed or not.

    `index_context` tells the references a second time, as VMware Private AI Services does.
    """
    require(caller, "agents")
    agent = filled(agent, asked.variables)
    question = _question(asked, services.limits.max_message_chars, session_id)
    question = replace(question, local_only=stays_local(request, caller))
    if not asked.stream:
        turn = services.agents.answer(caller, agent, question)
        answer = await while_connected(request, turn)
        return Response(
            _completion(answer, session_id, index_context=index_context),
            headers=served_by(answer.served),
        )
    opening = services.agents.stream(caller, agent, question)
    live = await while_connected(request, opening)
    with_usage = bool(asked.stream_options and asked.stream_options.include_usage)
    frames = _frames(live, session_id, with_usage=with_usage, index_context=index_context)
    return EventStream(frames, served_by(live.served))


def _question(asked: AgentChatRequest, limit: int, session_id: str | None) -> Question:
    *given, last = asked.messages
    if last.role != "user":
        raise InvalidRequest("messages: the last one must be the user's", param="messages")
    orders = [message.text for message in given if message.role in _ORDERING]
    said = [message for message in given if message.role not in _ORDERING]
    return Question(
        text=check_message(last.text, limit, "messages"),
        session_id=None if session_id is None else check_session_id(session_id),
        given=[{"role": message.role, "content": message.text} for message in said],
        instructions=orders,
        sampling=asked.sampling(),
    )


def _completion(
    answer: AgentAnswer, session_id: str | None, *, index_context: bool
) -> ChatCompletion:
    return ChatCompletion(
        id=_completion_id(),
        created=int(time.time()),
        model=answer.model,
        choices=[Choice(AnswerMessage(answer.text), answer.finish_reason)],
        usage=answer.usage,
        references=answer.references,
        session_id=UNSET if session_id is None else session_id,
        index_context_info=context_of(answer.references) if index_context else UNSET,
    )


def _completion_id() -> str:
    return f"chatcmpl-{uuid.uuid4().hex}"


async def _frames(
    live: LiveAnswer, session_id: str | None, *, with_usage: bool, index_context: bool
) -> AsyncGenerator[bytes, None]:
    template = ChatChunk(
        id=_completion_id(),
        created=int(time.time()),
        model=live.served.target,
        choices=[],
        usage=None if with_usage else UNSET,
        session_id=UNSET if session_id is None else session_id,
    )
    yield _chunk(template, Delta(role="assistant", content=""))
    try:
        async for part in live.parts:
            if isinstance(part, str):
                yield _chunk(template, Delta(content=part))
            else:
                yield _last_chunk(template, part, index_context=index_context)
                if with_usage:
                    yield _usage_chunk(template, part.usage)
    finally:
        await live.parts.aclose()


def _chunk(template: ChatChunk, delta: Delta) -> bytes:
    return _frame(msgspec.structs.replace(template, choices=[ChunkChoice(delta)]))


def _last_chunk(template: ChatChunk, answer: AgentAnswer, *, index_context: bool) -> bytes:
    last = msgspec.structs.replace(
        template,
        choices=[ChunkChoice(Delta(), answer.finish_reason)],
        references=answer.references,
        index_context_info=context_of(answer.references) if index_context else UNSET,
    )
    return _frame(last)


def _usage_chunk(template: ChatChunk, usage: Usage) -> bytes:
    return _frame(msgspec.structs.replace(template, usage=usage))


def _frame(chunk: ChatChunk) -> bytes:
    return data(msgspec.json.encode(chunk))
