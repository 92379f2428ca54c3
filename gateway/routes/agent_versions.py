"""`/v1/agents/{name}/versions` and `/aliases` (docs/agents.md)."""

from typing import Annotated

from litestar import Router, delete, get, post, put
from litestar.params import FromPath, JSONBody, QueryParameter

from gateway.agents import aliases, wire
from gateway.agents.registry import get_version, list_versions
from gateway.guards import Caller, needs
from gateway.lifespan import Provided
from gateway.openai.knowledge import Deleted
from gateway.routes.pages import Limit

READ, WRITE = needs("agents"), needs("agents:write")
_LAST = 2**31 - 1


@get("/versions", opt=READ, operation_id="list_agent_versions")
async def versions(
    name: FromPath[str],
    caller: Caller,
    services: Provided,
    limit: Limit = 20,
    before: Annotated[int, QueryParameter(ge=1, le=_LAST)] = _LAST,
) -> wire.VersionList:
    """List an agent's versions, the newest first."""
    found = await list_versions(services.pool, caller, name, before=before, limit=limit + 1)
    shown = [wire.agent_object(each) for each in found[:limit]]
    return wire.VersionList(shown, has_more=len(found) > limit)


@get("/versions/{version:str}", opt=READ, operation_id="get_agent_version")
async def version(
    name: FromPath[str], version: FromPath[str], caller: Caller, services: Provided
) -> wire.AgentObject:
    """Return a version of an agent."""
    return wire.agent_object(await get_version(services.pool, caller, name, version))


@get("/aliases", opt=READ, operation_id="list_agent_aliases")
async def list_all(name: FromPath[str], caller: Caller, services: Provided) -> wire.AliasList:
    """List an agent's aliases."""
    found = await aliases.list_aliases(services.pool, caller, name)
    return wire.AliasList([wire.alias_object(each) for each in found])


@get("/aliases/{alias:str}", opt=READ, operation_id="get_agent_alias")
async def get_one(
    name: FromPath[str], alias: FromPath[str], caller: Caller, services: Provided
) -> wire.AliasObject:
    """Return an alias."""
    return wire.alias_object(await aliases.get_alias(services.pool, caller, name, alias))


@put("/aliases/{alias:str}", opt=WRITE, operation_id="put_agent_alias")
async def point(
    name: FromPath[str],
    alias: FromPath[str],
    data: JSONBody[wire.PutAlias],
    caller: Caller,
    services: Provided,
) -> wire.AliasObject:
    """Let an alias point at a version, or at several by weight; make it where there is none."""
    pointed = await aliases.put_alias(
        services.pool, caller, services.models, name, alias, data.wanted
    )
    return wire.alias_object(pointed)


@post(
    "/aliases/{alias:str}/rollback",
    opt=WRITE,
    status_code=200,
    operation_id="roll_back_agent_alias",
)
async def roll_back(
    name: FromPath[str], alias: FromPath[str], caller: Caller, services: Provided
) -> wire.AliasObject:
    """Let an alias point where it did before its last change."""
    pointed = await aliases.roll_back_alias(services.pool, caller, services.models, name, alias)
    return wire.alias_object(pointed)


@delete("/aliases/{alias:str}", opt=WRITE, status_code=200, operation_id="delete_agent_alias")
async def remove(
    name: FromPath[str], alias: FromPath[str], caller: Caller, services: Provided
) -> Deleted:
    """Delete an alias; the versions stay."""
    await aliases.delete_alias(services.pool, caller, name, alias)
    return Deleted(alias, "agent.alias.deleted")


ROUTER = Router(
    "/v1/agents/{name:str}",
    route_handlers=[versions, version, list_all, get_one, point, roll_back, remove],
    tags=["agents"],
)
