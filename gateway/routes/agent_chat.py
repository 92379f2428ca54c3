"""`/v1/agents/{name}/chat`: what product teams call."""

import time
from typing import Any

from litestar import Request, Response, post
from litestar.params import FromPath, JSONBody

from gateway.agents.draft import Question
from gateway.agents.question import check_message
from gateway.agents.registry import find_agent
from gateway.agents.variables import filled
from gateway.guards import Caller, needs
from gateway.lifespan import Provided
from gateway.openai.agents import AgentMessage, AgentReply
from gateway.openai.chat import AgentChatRequest, ChatCompletion
from gateway.routes.agent_completions import complete_as_agent
from gateway.routes.agent_events import EventTelling
from gateway.routes.generation import stays_local
from gateway.routes.turns import Ask, respond
from gateway.sessions.store import check_session_id, new_session_id


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
    question = Question(text, session_id, local_only=stays_local(request.scope, caller))
    telling = EventTelling(question.message_id, session_id, agent.name, int(time.time()))
    ask = Ask(agent, question, telling, bool(data.stream), bool(data.resumable))
    return await respond(ask, request, caller, services)


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


HANDLERS = [chat, chat_completions]
