"""`/v1/vector_stores/{id}/file_batches`: many files at once. OpenAI API reference."""

from litestar import Router, get, post
from litestar.params import FromPath, FromQuery, JSONBody

from gateway.errors import naming
from gateway.guards import Caller, needs
from gateway.lifespan import Provided
from gateway.openai import knowledge as wire
from gateway.routes.pages import CURSOR, ListCursor, cursor_page, timestamp
from gateway.routes.store_files import file_object, new_file
from rag import NewFile, batches

READ, WRITE = needs("knowledge"), needs("knowledge:write")


@post("/", opt=WRITE, status_code=200, operation_id="create_file_batch")
async def create(
    store_id: FromPath[str], data: JSONBody[wire.CreateBatch], caller: Caller, services: Provided
) -> wire.BatchObject:
    """Have files read into the store: all of them, or none where one is missing."""
    with naming("file", "files" if data.files else "file_ids"):
        batch = await batches.create_batch(services.pool, caller, store_id, _files(data))
    return _object(batch)


@get("/{batch_id:str}", opt=READ, operation_id="get_file_batch")
async def get_one(
    store_id: FromPath[str], batch_id: FromPath[str], caller: Caller, services: Provided
) -> wire.BatchObject:
    """Return a batch, with how many of its files are in which state."""
    return _object(await batches.get_batch(services.pool, caller, store_id, batch_id))


@post("/{batch_id:str}/cancel", opt=WRITE, status_code=200, operation_id="cancel_file_batch")
async def cancel(
    store_id: FromPath[str], batch_id: FromPath[str], caller: Caller, services: Provided
) -> wire.BatchObject:
    """Have those files not be read that are still in progress."""
    return _object(await batches.cancel_batch(services.pool, caller, store_id, batch_id))


@get("/{batch_id:str}/files", opt=READ, operation_id="list_batch_files", dependencies=CURSOR)
async def list_files(
    store_id: FromPath[str],
    batch_id: FromPath[str],
    cursor: ListCursor,
    caller: Caller,
    services: Provided,
    filter: FromQuery[wire.Status | None] = None,  # noqa: A002 - the API's name
) -> wire.ListPage[wire.VectorStoreFileObject]:
    """List a batch's files, those of one status where `filter` names it."""
    rows = await batches.list_batch_files(
        services.pool, caller, store_id, batch_id, cursor, status=filter
    )
    return cursor_page(rows, cursor, file_object)


ROUTER = Router(
    "/v1/vector_stores/{store_id:str}/file_batches",
    route_handlers=[create, get_one, cancel, list_files],
    tags=["vector stores"],
)


def _files(data: wire.CreateBatch) -> list[NewFile]:
    named = data.files or [wire.AddFile(file_id) for file_id in data.file_ids or []]
    for file in named:
        if file.attributes is None:
            file.attributes = data.attributes
        file.chunking_strategy = file.chunking_strategy or data.chunking_strategy
    return [new_file(file) for file in named]


def _object(batch: batches.FileBatch) -> wire.BatchObject:
    counts = batch.counts
    return wire.BatchObject(
        id=batch.id,
        created_at=timestamp(batch.created_at),
        vector_store_id=batch.vector_store_id,
        status=batch.status,
        file_counts=wire.FileCounts(
            counts.in_progress, counts.completed, counts.failed, counts.cancelled, counts.total
        ),
    )
