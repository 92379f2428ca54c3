"""`/v1/models`: aliases, engines, agents, embedding model and reranker, as far as a caller may.

`created` is an agent's own time; a model of the settings has none and says 0.
"""

from litestar import get
from litestar.params import FromPath

from auth import require
from auth.errors import InsufficientScope
from gateway.agents.aliases import list_aliases
from gateway.agents.registry import find_agent, list_agents
from gateway.errors import NotFound
from gateway.generation.models import unknown_model
from gateway.guards import Caller, needs
from gateway.lifespan import Provided
from gateway.openai.models import ModelList, ModelObject

_OWNER = "naru"


@get("/v1/models", opt=needs("inference"), tags=["models"], operation_id="list_models")
async def list_models(caller: Caller, services: Provided) -> ModelList:
    """List the aliases, engines, agents, embedding model and reranker the caller may use."""
    return ModelList(await _visible(caller, services))


@get("/v1/models/{model:path}", opt=needs("inference"), tags=["models"], operation_id="get_model")
async def get_model(model: FromPath[str], caller: Caller, services: Provided) -> ModelObject:
    """Return one model, alias or agent; what the list leaves out too, such as `agent@3`."""
    name = model.removeprefix("/")
    for known in await _visible(caller, services):
        if known.id == name:
            return known
    if services.models.find(caller, name):
        return ModelObject(name, 0, name.partition("/")[0])
    return await _version(name, caller, services)


async def _visible(caller: Caller, services: Provided) -> list[ModelObject]:
    names = {*services.models.names(caller), *services.embeddings.names(caller)}
    if services.reranker and caller.may_use_model(services.reranker.model):
        names.add(services.reranker.model)
    aliases = [ModelObject(name, 0, _OWNER) for name in sorted(names)]
    if "agents" not in caller.scopes:
        return aliases
    agents = await list_agents(services.pool, caller)
    named = await list_aliases(services.pool, caller)
    return [
        *aliases,
        # An alias that has come later answers in the agent's place.
        *(
            ModelObject(each.name, each.created, caller.tenant)
            for each in agents
            if each.name not in names
        ),
        *(ModelObject(f"{a.agent}@{a.name}", a.updated, caller.tenant) for a in named),
    ]


async def _version(name: str, caller: Caller, services: Provided) -> ModelObject:
    """Return a version of an agent, which the list leaves out."""
    try:
        require(caller, "agents")
        agent = await find_agent(services.pool, caller, name)
    except (InsufficientScope, NotFound):
        raise unknown_model(name) from None
    return ModelObject(name, agent.version_created, caller.tenant)


HANDLERS = [list_models, get_model]
