"""`/v1/vector_stores/{id}/files`: what a knowledge base is read from. OpenAI API reference."""

import asyncio

import msgspec
from litestar import MediaType, Response, Router, delete, get, post
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import UNSET

from gateway.errors import InvalidRequest, naming
from gateway.guards import Caller, needs
from gateway.lifespan import Provided
from gateway.openai import knowledge as wire
from gateway.routes.pages import CURSOR, ListCursor, cursor_page, timestamp
from rag import Chunking, NewFile, Page, store_files

READ, WRITE = needs("knowledge"), needs("knowledge:write")


@post("/", opt=WRITE, status_code=200, operation_id="create_vector_store_file")
async def add(
    store_id: FromPath[str], data: JSONBody[wire.AddFile], caller: Caller, services: Provided
) -> wire.VectorStoreFileObject:
    """Have a file read into the store; its status says when it is searchable."""
    with naming("file", "file_id"):
        file = await store_files.add_file(services.pool, caller, store_id, new_file(data))
    return file_object(file)


@get("/", opt=READ, operation_id="list_vector_store_files", dependencies=CURSOR)
async def list_all(
    store_id: FromPath[str],
    cursor: ListCursor,
    caller: Caller,
    services: Provided,
    filter: FromQuery[wire.Status | None] = None,  # noqa: A002 - the API's name
) -> wire.ListPage[wire.VectorStoreFileObject]:
    """List a store's files, those of one status where `filter` names it."""
    rows = await store_files.list_store_files(
        services.pool, caller, store_id, cursor, status=filter
    )
    return cursor_page(rows, cursor, file_object)


@get("/{file_id:str}", opt=READ, operation_id="get_vector_store_file")
async def get_one(
    store_id: FromPath[str], file_id: FromPath[str], caller: Caller, services: Provided
) -> wire.VectorStoreFileObject:
    """Return a file of a store, with its status."""
    return file_object(await store_files.get_store_file(services.pool, caller, store_id, file_id))


@post("/{file_id:str}", opt=WRITE, status_code=200, operation_id="update_vector_store_file")
async def update(
    store_id: FromPath[str],
    file_id: FromPath[str],
    data: JSONBody[wire.UpdateFile],
    caller: Caller,
    services: Provided,
) -> wire.VectorStoreFileObject:
    """Replace a file's attributes in a store."""
    return file_object(
        await store_files.update_attributes(
            services.pool, caller, store_id, file_id, data.attributes or {}
        )
    )


@get("/{file_id:str}/content", opt=READ, operation_id="get_vector_store_file_content")
async def content(
    store_id: FromPath[str], file_id: FromPath[str], caller: Caller, services: Provided
) -> Response[wire.FileContent]:
    """Return the text that was read from a file, page by page."""
    pages = await store_files.read_content(services.pool, caller, store_id, file_id)
    if pages is None:
        raise InvalidRequest(
            "this file has no content yet: its status must be completed", code="file_not_completed"
        )
    # A long document's text would hold up the others while it is written.
    body = await asyncio.to_thread(_encoded, pages)
    return Response(body, media_type=MediaType.JSON)  # type: ignore[arg-type]  # as it is sent


@delete("/{file_id:str}", opt=WRITE, status_code=200, operation_id="delete_vector_store_file")
async def remove(
    store_id: FromPath[str], file_id: FromPath[str], caller: Caller, services: Provided
) -> wire.Deleted:
    """Take a file out of a store; the file itself stays."""
    await store_files.remove_file(services.pool, caller, store_id, file_id)
    return wire.Deleted(file_id, "vector_store.file.deleted")


ROUTER = Router(
    "/v1/vector_stores/{store_id:str}/files",
    route_handlers=[add, list_all, get_one, update, content, remove],
    tags=["vector stores"],
)


def new_file(data: wire.AddFile) -> NewFile:
    """Return a file to be read, as `rag` takes it."""
    return NewFile(data.file_id, data.attributes, chunking(data.chunking_strategy))


def chunking(strategy: wire.ChunkingStrategy | None) -> Chunking | None:
    """Return how files are to be cut; None leaves it to `rag`."""
    if not isinstance(strategy, wire.StaticChunking):
        return None
    sizes = strategy.static
    return Chunking(sizes.max_chunk_size_tokens, sizes.chunk_overlap_tokens)


def file_object(file: store_files.StoreFile) -> wire.VectorStoreFileObject:
    """Return a file of a store as it is shown."""
    error, progress = file.last_error, wire.Progress(file.chunks_done, file.chunks_total)
    return wire.VectorStoreFileObject(
        id=file.id,
        usage_bytes=file.usage_bytes,
        created_at=timestamp(file.created_at),
        vector_store_id=file.vector_store_id,
        status=file.status,
        last_error=wire.LastError(error.code, error.message) if error else None,
        attributes=dict(file.attributes),
        chunking_strategy=_strategy(file.chunking),
        progress=progress if file.status == "in_progress" else UNSET,
    )


def _strategy(cut: Chunking | None) -> wire.StaticChunking | wire.OtherChunking:
    if cut is None:
        return wire.OtherChunking()
    return wire.StaticChunking(wire.StaticSizes(cut.max_tokens, cut.overlap_tokens))


def _encoded(pages: list[Page]) -> bytes:
    parts = [wire.ContentPart(page.text, page.number) for page in pages]
    return msgspec.json.encode(wire.FileContent(parts))
