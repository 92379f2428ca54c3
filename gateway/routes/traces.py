"""How an answer came about, and how another version of the agent answers the same."""

import time
from typing import Any

from litestar import Request, get, post
from litestar.params import FromPath, JSONBody

from gateway.agents.draft import Question
from gateway.agents.registry import find_agent
from gateway.agents.variables import filled
from gateway.errors import NotFound
from gateway.guards import Caller, needs
from gateway.lifespan import Provided
from gateway.openai.traces import Replay, ReplayedAnswer, ReplayRequest, TurnTrace
from gateway.presence import while_connected
from gateway.routes.agent_events import EventTelling
from gateway.routes.generation import stays_local
from gateway.sessions.recall import find_answer
from gateway.sessions.traces import find_trace


@get(
    "/v1/sessions/{session_id:str}/messages/{message_id:str}/trace",
    opt=needs("agents"),
    tags=["sessions"],
    operation_id="get_message_trace",
)
async def get_trace(
    session_id: FromPath[str], message_id: FromPath[str], caller: Caller, services: Provided
) -> TurnTrace:
    """Return how an answer came about."""
    trace = await find_trace(services.pool, caller, session_id, message_id)
    if trace is None:
        raise NotFound("the message was stored without a trace", code="trace_not_found")
    return trace


@post(
    "/v1/sessions/{session_id:str}/messages/{message_id:str}/replay",
    opt=needs("agents"),
    status_code=200,
    tags=["sessions"],
    operation_id="replay_message",
)
async def replay(
    session_id: FromPath[str],
    message_id: FromPath[str],
    data: JSONBody[ReplayRequest],
    request: Request[Any, Any, Any],
    caller: Caller,
    services: Provided,
) -> Replay:
    """Answer the message's question again with another agent or version; nothing is stored."""
    told = await find_answer(services.pool, caller, session_id, message_id)
    trace = await find_trace(services.pool, caller, session_id, message_id)
    agent = await find_agent(services.pool, caller, data.agent, affinity=session_id)
    agent = filled(agent, data.variables)
    local_only = stays_local(request.scope, caller)
    question = Question(told.question, session_id, local_only=local_only)
    turn = services.agents.replay(caller, agent, question, told.ordinal)
    answer, replayed = await while_connected(request, turn)
    original = ReplayedAnswer(told.answer, told.references, told.agent, told.model, told.created_at)
    telling = EventTelling(answer.message_id, session_id, agent.name, int(time.time()))
    return Replay(told.question, original, trace, telling.reply(answer), replayed)


HANDLERS = [get_trace, replay]
