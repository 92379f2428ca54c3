"""The agents of VMware Private AI Services' API, on the same code as ours (docs/agents.md)."""

import uuid
from typing import Annotated, Any

from litestar import Request, Response, Router, get, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from gateway.agents.registry import Agent, find_agent, list_agents
from gateway.errors import InvalidRequest
from gateway.guards import Caller, needs
from gateway.lifespan import Provided
from gateway.openai.chat import ChatCompletion
from gateway.openai.pais import PaisAgent, PaisAgentList, PaisChatRequest
from gateway.routes.agent_completions import complete_as_agent
from gateway.routes.pages import Limit
from rag.paging import Order

_NEEDED = needs("agents")
_HEADERS = ("x-pais-session-id", "x-session-id", "session-id", "session_id")


@get("/", opt=_NEEDED, operation_id="list_pais_agents")
async def list_all(
    caller: Caller,
    services: Provided,
    limit: Limit = 20,
    offset: Annotated[int, QueryParameter(ge=0)] = 0,
    order: FromQuery[Order] = "asc",
) -> PaisAgentList:
    """List the agents the caller may use, by name."""
    agents = await list_agents(services.pool, caller)
    ordered = agents if order == "asc" else agents[::-1]
    page = [_object(agent) for agent in ordered[offset : offset + limit]]
    return PaisAgentList(
        data=page,
        first_id=page[0].id if page else None,
        last_id=page[-1].id if page else None,
        has_more=len(ordered) > offset + limit,
    )


@get("/{agent_id:str}", opt=_NEEDED, operation_id="get_pais_agent")
async def get_one(agent_id: FromPath[str], caller: Caller, services: Provided) -> PaisAgent:
    """Return an agent; its id is its name."""
    return _object(await find_agent(services.pool, caller, agent_id))


@post(
    "/{agent_id:str}/chat/completions",
    opt=_NEEDED,
    status_code=200,
    operation_id="create_pais_completion",
)
async def complete(
    agent_id: FromPath[str],
    data: JSONBody[PaisChatRequest],
    request: Request[Any, Any, Any],
    caller: Caller,
    services: Provided,
    session_id: FromQuery[str | None] = None,
    create_session: FromQuery[bool] = False,  # noqa: FBT002 - this API's parameter
) -> Response[ChatCompletion]:
    """Ask an agent; the answer carries `session_id` and `index_context_info`."""
    named = (data.session_id, data.store_in_session, session_id)
    session = _session(request, *named, new=bool(data.create_session) or create_session)
    affinity = session or data.user
    agent = await find_agent(services.pool, caller, agent_id, affinity=affinity)
    _check_model(data.model, agent, agent_id)
    return await complete_as_agent(
        agent, data, request, caller, services, session, index_context=True
    )


def _session(request: Request[Any, Any, Any], *named: str | None, new: bool) -> str | None:
    """Return the conversation's id: the one named anywhere, a new one if asked for, or none.

    Raises:
        InvalidRequest: Two places name different ones.
    """
    headers = (request.headers.get(name) for name in _HEADERS)
    given = {each for each in (*named, *headers) if each is not None}
    if len(given) > 1:
        raise InvalidRequest(
            "session_id: body, query and header name different ones", param="session_id"
        )
    return given.pop() if given else str(uuid.uuid4()) if new else None


def _check_model(model: str, agent: Agent, agent_id: str) -> None:
    """Refuse another model than the agent's own, as that API does."""
    if model not in ("", agent.definition.model, agent.name, agent_id):
        raise InvalidRequest(
            f"model: the agent answers with `{agent.definition.model}`: leave it out",
            param="model",
        )


def _object(agent: Agent) -> PaisAgent:
    definition = agent.definition
    return PaisAgent(
        id=agent.name,
        created_at=agent.created,
        name=agent.name,
        description=definition.description,
        instructions=definition.instructions,
        model=definition.model,
        index_id=next(iter(definition.vector_stores), None),
        index_top_n=definition.top_k,
        index_similarity_cutoff=definition.retrieval.score_threshold,
        session_max_length=definition.history.messages,
        metadata={"version": str(agent.version)},
    )


ROUTER = Router(
    "/api/v1/compatibility/openai/v1/agents",
    route_handlers=[list_all, get_one, complete],
    tags=["agents"],
)
