"""`/v1/vector_stores`: knowledge bases. OpenAI API reference."""

from litestar import Router, delete, get, post
from litestar.params import FromPath, JSONBody
from msgspec import UNSET

from gateway.errors import naming
from gateway.guards import Caller, needs
from gateway.lifespan import Provided
from gateway.openai import knowledge as wire
from gateway.routes.pages import CURSOR, ListCursor, cursor_page, timestamp
from gateway.routes.store_files import chunking
from rag import Chunking, NewFile, stores

READ, WRITE = needs("knowledge"), needs("knowledge:write")
_FOR_EVER = 0


@post("/", opt=WRITE, status_code=200, operation_id="create_vector_store")
async def create(
    data: JSONBody[wire.CreateVectorStore], caller: Caller, services: Provided
) -> wire.VectorStoreObject:
    """Make a store, and have its files read."""
    cut = chunking(data.chunking_strategy)
    with naming("file", "file_ids"):
        store = await stores.create_store(
            services.pool,
            caller,
            name=data.name or "",
            description=data.description,
            metadata=data.metadata,
            expires_after_days=data.expires_after.days if data.expires_after else None,
            files=[NewFile(file_id, chunking=cut) for file_id in data.file_ids or []],
        )
    return store_object(store)


@get("/", opt=READ, operation_id="list_vector_stores", dependencies=CURSOR)
async def list_all(
    cursor: ListCursor, caller: Caller, services: Provided
) -> wire.ListPage[wire.VectorStoreObject]:
    """List the stores the caller may use."""
    rows = await stores.list_stores(services.pool, caller, cursor)
    return cursor_page(rows, cursor, store_object)


@get("/{store_id:str}", opt=READ, operation_id="get_vector_store")
async def get_one(
    store_id: FromPath[str], caller: Caller, services: Provided
) -> wire.VectorStoreObject:
    """Return one store."""
    return store_object(await stores.get_store(services.pool, caller, store_id))


@post("/{store_id:str}", opt=WRITE, status_code=200, operation_id="update_vector_store")
async def update(
    store_id: FromPath[str],
    data: JSONBody[wire.UpdateVectorStore],
    caller: Caller,
    services: Provided,
) -> wire.VectorStoreObject:
    """Change a store's name, metadata or when it expires."""
    days = None if data.expires_after is UNSET else _FOR_EVER
    store = await stores.update_store(
        services.pool,
        caller,
        store_id,
        name=None if data.name is UNSET else data.name or "",
        metadata=None if data.metadata is UNSET else data.metadata or {},
        expires_after_days=data.expires_after.days if data.expires_after else days,
    )
    return store_object(store)


@delete("/{store_id:str}", opt=WRITE, status_code=200, operation_id="delete_vector_store")
async def remove(store_id: FromPath[str], caller: Caller, services: Provided) -> wire.Deleted:
    """Delete a store; its files stay."""
    await stores.delete_store(services.pool, caller, store_id)
    return wire.Deleted(store_id, "vector_store.deleted")


ROUTER = Router(
    "/v1/vector_stores",
    route_handlers=[create, list_all, get_one, update, remove],
    tags=["vector stores"],
)


def store_object(store: stores.VectorStore) -> wire.VectorStoreObject:
    """Return a store as it is shown."""
    counts, days = store.counts, store.expires_after_days
    return wire.VectorStoreObject(
        id=store.id,
        created_at=timestamp(store.created_at),
        name=store.name,
        usage_bytes=store.usage_bytes,
        file_counts=wire.FileCounts(
            counts.in_progress, counts.completed, counts.failed, counts.cancelled, counts.total
        ),
        status="expired" if store.expired else "in_progress" if counts.in_progress else "completed",
        last_active_at=timestamp(store.last_active_at),
        metadata=dict(store.metadata),
        description=UNSET if store.description is None else store.description,
        expires_after=wire.ExpiresAfter(days, "last_active_at") if days else UNSET,
        expires_at=timestamp(store.expires_at) if store.expires_at else UNSET,
        reindex=_reindex_object(store.reindex, counts.completed) if store.reindex else UNSET,
    )


def _reindex_object(reindex: stores.Reindex, total: int) -> wire.ReindexObject:
    done, failure = reindex.documents_done, reindex.failure
    return wire.ReindexObject(
        status=reindex.status,
        model=reindex.model,
        chunking_strategy=_strategy(reindex.chunking),
        started_at=timestamp(reindex.started_at),
        documents_done=total if done is None else done,
        documents_total=total,
        last_error=wire.LastError("server_error", failure) if failure else None,
    )


def _strategy(chunking: Chunking | None) -> wire.ChunkingStrategy:
    if chunking is None:
        return wire.AutoChunking()
    return wire.StaticChunking(wire.StaticSizes(chunking.max_tokens, chunking.overlap_tokens))
