"""`/v1/vector_stores`: knowledge bases. OpenAI API reference."""

from litestar import Router, delete, get, post
from litestar.params import FromPath, FromQuery, JSONBody

from gateway.guards import Caller, needs
from gateway.lifespan import Provided
from gateway.openai import knowledge as wire
from gateway.routes.pages import Limit, Order, page, timestamp
from rag import Cursor, NewFile, Passage, search, store_files, stores

READ, WRITE = needs("knowledge"), needs("knowledge:write")


@post("/", opt=WRITE, status_code=200, operation_id="create_vector_store")
async def create(
    data: JSONBody[wire.CreateVectorStore], caller: Caller, services: Provided
) -> wire.VectorStoreObject:
    """Make a store, and have its files read."""
    store = await stores.create_store(
        services.pool,
        caller,
        name=data.name,
        metadata=data.metadata,
        files=[NewFile(file_id) for file_id in data.file_ids],
    )
    return _store(store)


@get("/", opt=READ, operation_id="list_vector_stores")
async def list_all(
    caller: Caller,
    services: Provided,
    limit: Limit = 20,
    after: FromQuery[str | None] = None,
    order: Order = "desc",
) -> wire.ListPage[wire.VectorStoreObject]:
    """List the stores the caller may use."""
    cursor = Cursor(limit + 1, after=after, order=order)
    rows = await stores.list_stores(services.pool, caller, cursor)
    return page(rows, limit, _store)


@get("/{store_id:str}", opt=READ, operation_id="get_vector_store")
async def get_one(
    store_id: FromPath[str], caller: Caller, services: Provided
) -> wire.VectorStoreObject:
    """Return one store."""
    return _store(await stores.get_store(services.pool, caller, store_id))


@delete("/{store_id:str}", opt=WRITE, status_code=200, operation_id="delete_vector_store")
async def remove(store_id: FromPath[str], caller: Caller, services: Provided) -> wire.Deleted:
    """Delete a store; its files stay."""
    await stores.delete_store(services.pool, caller, store_id)
    return wire.Deleted(store_id, "vector_store.deleted")


@post("/{store_id:str}/files", opt=WRITE, status_code=200, operation_id="create_vector_store_file")
async def add_file(
    store_id: FromPath[str], data: JSONBody[wire.AddFile], caller: Caller, services: Provided
) -> wire.VectorStoreFileObject:
    """Have a file read into the store; its status says when it is searchable."""
    return _file(await store_files.add_file(services.pool, caller, store_id, data.file_id))


@get("/{store_id:str}/files", opt=READ, operation_id="list_vector_store_files")
async def list_files(
    store_id: FromPath[str],
    caller: Caller,
    services: Provided,
    limit: Limit = 20,
    after: FromQuery[str | None] = None,
    order: Order = "desc",
) -> wire.ListPage[wire.VectorStoreFileObject]:
    """List a store's files."""
    cursor = Cursor(limit + 1, after=after, order=order)
    rows = await store_files.list_store_files(services.pool, caller, store_id, cursor)
    return page(rows, limit, _file)


@get("/{store_id:str}/files/{file_id:str}", opt=READ, operation_id="get_vector_store_file")
async def get_file(
    store_id: FromPath[str], file_id: FromPath[str], caller: Caller, services: Provided
) -> wire.VectorStoreFileObject:
    """Return a file of a store, with its status."""
    return _file(await store_files.get_store_file(services.pool, caller, store_id, file_id))


@delete(
    "/{store_id:str}/files/{file_id:str}",
    opt=WRITE,
    status_code=200,
    operation_id="delete_vector_store_file",
)
async def remove_file(
    store_id: FromPath[str], file_id: FromPath[str], caller: Caller, services: Provided
) -> wire.Deleted:
    """Take a file out of a store; the file itself stays."""
    await store_files.remove_file(services.pool, caller, store_id, file_id)
    return wire.Deleted(file_id, "vector_store.file.deleted")


@post("/{store_id:str}/search", opt=READ, status_code=200, operation_id="search_vector_store")
async def search_store(
    store_id: FromPath[str], data: JSONBody[wire.SearchStore], caller: Caller, services: Provided
) -> wire.SearchResults:
    """Search a store."""
    found = await search(
        services.pool,
        services.embedders.default,
        caller,
        [store_id],
        data.query,
        k=data.max_num_results,
    )
    return wire.SearchResults([data.query], [_result(passage) for passage in found.passages])


def _store(store: stores.VectorStore) -> wire.VectorStoreObject:
    counts = store.counts
    created = timestamp(store.created_at)
    return wire.VectorStoreObject(
        id=store.id,
        created_at=created,
        name=store.name,
        usage_bytes=store.usage_bytes,
        file_counts=wire.FileCounts(
            counts.in_progress, counts.completed, counts.failed, counts.cancelled, counts.total
        ),
        status="in_progress" if counts.in_progress else "completed",
        last_active_at=created,
        metadata=dict(store.metadata),
    )


def _file(file: store_files.StoreFile) -> wire.VectorStoreFileObject:
    error = file.last_error
    return wire.VectorStoreFileObject(
        id=file.id,
        usage_bytes=file.usage_bytes,
        created_at=timestamp(file.created_at),
        vector_store_id=file.vector_store_id,
        status=file.status,
        last_error=wire.LastError(error.code, error.message) if error else None,
    )


def _result(passage: Passage) -> wire.SearchResult:
    return wire.SearchResult(
        file_id=passage.document_id,
        filename=passage.source,
        score=passage.score,
        content=[wire.TextContent(passage.content)],
        page=passage.page,
        start=passage.start,
        end=passage.end,
        chunk_id=passage.chunk_id,
        lexical=passage.lexical,
        similarity=passage.similarity,
    )


ROUTER = Router(
    "/v1/vector_stores",
    route_handlers=[
        *(create, list_all, get_one, remove, search_store),
        *(add_file, list_files, get_file, remove_file),
    ],
    tags=["vector stores"],
)
