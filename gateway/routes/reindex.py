"""`/v1/vector_stores/{id}/reindex`: a knowledge base is read again beside the index it searches."""

from typing import Literal

from litestar import Router, delete, post
from litestar.params import FromPath, JSONBody

from gateway.guards import Caller, needs
from gateway.lifespan import Provided
from gateway.openai import knowledge as wire
from gateway.routes.store_files import chunking
from gateway.routes.vector_stores import store_object
from rag import Chunking, cancel_reindex, start_reindex

WRITE = needs("knowledge:write")


@post("/", opt=WRITE, status_code=202, operation_id="reindex_vector_store")
async def start(
    store_id: FromPath[str],
    data: JSONBody[wire.StartReindex],
    caller: Caller,
    services: Provided,
) -> wire.VectorStoreObject:
    """Have a store read again with another model or chunking; `reindex` tells how it goes."""
    store = await start_reindex(
        services.pool,
        services.embedders,
        caller,
        store_id,
        model=data.model,
        chunking=_chunking(data.chunking_strategy),
    )
    return store_object(store)


@delete("/", opt=WRITE, status_code=200, operation_id="cancel_reindex_of_vector_store")
async def cancel(
    store_id: FromPath[str], caller: Caller, services: Provided
) -> wire.VectorStoreObject:
    """Give up what is being built, or has failed; the store is searched as before."""
    return store_object(await cancel_reindex(services.pool, caller, store_id))


ROUTER = Router(
    "/v1/vector_stores/{store_id:str}/reindex",
    route_handlers=[start, cancel],
    tags=["vector stores"],
)


def _chunking(strategy: wire.ChunkingStrategy | None) -> Chunking | Literal["auto"] | None:
    return None if strategy is None else chunking(strategy) or "auto"
