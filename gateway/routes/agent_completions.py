"""An agent behind OpenAI's chat completions: the same turn, told in OpenAI's shape."""

import time
from dataclasses import replace
from typing import Any

from litestar import Request, Response

from auth import for_user, require
from gateway.agents.draft import Question
from gateway.agents.question import check_message
from gateway.agents.registry import Agent
from gateway.agents.variables import filled
from gateway.errors import InvalidRequest
from gateway.guards import Caller
from gateway.lifespan import Provided
from gateway.openai.chat import AgentChatRequest, ChatCompletion
from gateway.routes.agent_chunks import ChunkTelling
from gateway.routes.generation import stays_local
from gateway.routes.turns import Ask, respond
from gateway.sessions.store import check_session_id

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
    caller = for_user(caller, asked.user)
    agent = filled(agent, asked.variables)
    question = _question(asked, services.limits.max_message_chars, session_id)
    question = replace(question, local_only=stays_local(request.scope, caller))
    with_usage = bool(asked.stream_options and asked.stream_options.include_usage)
    telling = ChunkTelling(
        question.message_id, session_id, int(time.time()), with_usage, index_context
    )
    ask = Ask(agent, question, telling, bool(asked.stream), bool(asked.resumable))
    return await respond(ask, request, caller, services)


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
