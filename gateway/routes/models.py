"""`/v1/models`: aliases, engines, agents, embedding model and reranker, as far as a caller may.

`created` is an agent's own time; a model of the settings has none and says 0.
"""

from litestar import get
from litestar.params import FromPath

from gateway.agents.registry import list_agents
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
    """Return one model, alias or agent; `provider/model` too, which the list leaves out."""
    name = model.removeprefix("/")
    for known in await _visible(caller, services):
        if known.id == name:
            return known
    if services.models.find(caller, name):
        return ModelObject(name, 0, name.partition("/")[0])
    raise unknown_model(name)


async def _visible(caller: Caller, services: Provided) -> list[ModelObject]:
    names = {*services.models.names(caller), *services.embeddings.names(caller)}
    if services.reranker and caller.may_use_model(services.reranker.model):
        names.add(services.reranker.model)
    aliases = [ModelObject(name, 0, _OWNER) for name in sorted(names)]
    if "agents" not in caller.scopes:
        return aliases
    agents = await list_agents(services.pool, caller)
    return aliases + [ModelObject(a.definition.name, a.created, caller.tenant) for a in agents]


HANDLERS = [list_models, get_model]
