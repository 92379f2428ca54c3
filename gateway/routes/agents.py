"""`/v1/agents`: what there is to ask."""

from litestar import get
from litestar.params import FromPath

from gateway.agents.registry import Agent, find_agent, list_agents
from gateway.guards import Caller, needs
from gateway.lifespan import Provided
from gateway.openai.agents import (
    AgentList,
    AgentObject,
)


@get("/v1/agents", opt=needs("agents"), tags=["agents"], operation_id="list_agents")
async def list_all(caller: Caller, services: Provided) -> AgentList:
    """List the agents the caller may use."""
    return AgentList([_object(agent) for agent in await list_agents(services.pool, caller)])


@get("/v1/agents/{name:str}", opt=needs("agents"), tags=["agents"], operation_id="get_agent")
async def get_one(name: FromPath[str], caller: Caller, services: Provided) -> AgentObject:
    """Return one agent."""
    return _object(await find_agent(services.pool, caller, name))


def _object(agent: Agent) -> AgentObject:
    definition = agent.definition
    return AgentObject(
        name=definition.name,
        instructions=definition.instructions,
        model=definition.model,
        vector_stores=list(definition.vector_stores),
        top_k=definition.top_k,
        residency=definition.residency,
        created=agent.created,
    )


HANDLERS = [list_all, get_one]
