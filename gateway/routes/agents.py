"""`/v1/agents`: what there is to ask, and how it changes (docs/agents.md)."""

from typing import Annotated, Any

import msgspec
from litestar import Request, Response, delete, get, patch, post
from litestar.params import FromPath, HeaderParameter, JSONBody

from gateway.agents import changes
from gateway.agents.definition import AgentDefinition
from gateway.agents.registry import Agent, find_agent, list_agents
from gateway.agents.wire import AgentChanges, AgentList, AgentObject, RollBack, agent_object
from gateway.guards import Caller, needs
from gateway.lifespan import Provided
from gateway.openai.knowledge import Deleted

IfMatch = Annotated[str | None, HeaderParameter(name="if-match")]
READ, WRITE = needs("agents"), needs("agents:write")
_decode_fields = msgspec.json.Decoder(dict[str, Any]).decode


@get("/v1/agents", opt=READ, tags=["agents"], operation_id="list_agents")
async def list_all(caller: Caller, services: Provided) -> AgentList:
    """List the agents the caller may use."""
    return AgentList([agent_object(agent) for agent in await list_agents(services.pool, caller)])


@post("/v1/agents", opt=WRITE, tags=["agents"], operation_id="create_agent")
async def create(
    data: JSONBody[AgentDefinition], caller: Caller, services: Provided
) -> Response[AgentObject]:
    """Make an agent of the caller's tenant."""
    return _shown(await changes.create_agent(services.pool, caller, services.models, data), 201)


@get("/v1/agents/{name:str}", opt=READ, tags=["agents"], operation_id="get_agent")
async def get_one(name: FromPath[str], caller: Caller, services: Provided) -> Response[AgentObject]:
    """Return an agent, by `name`, `name@version` or `name@alias`; `etag` is its version."""
    return _shown(await find_agent(services.pool, caller, name))


@patch("/v1/agents/{name:str}", opt=WRITE, tags=["agents"], operation_id="update_agent")
async def update(
    name: FromPath[str],
    data: JSONBody[AgentChanges],
    request: Request[Any, Any, Any],
    caller: Caller,
    services: Provided,
    if_match: IfMatch = None,
) -> Response[AgentObject]:
    """Change what is given of an agent; that makes a version, and the plain name means it."""
    del data  # checked; what is merged is the text itself, which says what is null and what absent
    given = _decode_fields(await request.body())
    agent = await changes.change_agent(
        services.pool, caller, services.models, name, given, if_match=if_match
    )
    return _shown(agent)


@delete(
    "/v1/agents/{name:str}",
    opt=WRITE,
    status_code=200,
    tags=["agents"],
    operation_id="delete_agent",
)
async def remove(
    name: FromPath[str],
    caller: Caller,
    services: Provided,
    if_match: IfMatch = None,
) -> Deleted:
    """Delete an agent with its versions and aliases; sessions keep what was said."""
    await changes.delete_agent(services.pool, caller, name, if_match=if_match)
    return Deleted(name, "agent.deleted")


@post(
    "/v1/agents/{name:str}/rollback",
    opt=WRITE,
    status_code=200,
    tags=["agents"],
    operation_id="roll_back_agent",
)
async def roll_back(
    name: FromPath[str],
    data: JSONBody[RollBack],
    caller: Caller,
    services: Provided,
    if_match: IfMatch = None,
) -> Response[AgentObject]:
    """Let the plain name mean an earlier version again."""
    agent = await changes.roll_back(
        services.pool, caller, services.models, name, data.version, if_match=if_match
    )
    return _shown(agent)


def _shown(agent: Agent, status: int = 200) -> Response[AgentObject]:
    headers = {"etag": f'"{agent.version}"'}
    return Response(agent_object(agent), status_code=status, headers=headers)


HANDLERS = [list_all, create, get_one, update, remove, roll_back]
