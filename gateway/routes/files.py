"""`/v1/files`. OpenAI API reference."""

from collections.abc import AsyncIterator
from typing import Literal

import msgspec
from litestar import Router, delete, get, post
from litestar.datastructures import UploadFile
from litestar.params import FromPath, FromQuery, MultipartBody
from litestar.response import Stream

from gateway.guards import RAW_BODY, Caller, needs
from gateway.lifespan import Provided
from gateway.openai.knowledge import Deleted, FileObject, ListPage
from gateway.routes.pages import Limit, Order, page, timestamp
from rag import Cursor, files

_PART_BYTES = 1_048_576


class Upload(msgspec.Struct):
    """The form of an upload."""

    file: UploadFile
    purpose: Literal["assistants", "user_data"] = "assistants"


Form = MultipartBody[Upload]


@post(
    "/",
    opt=needs("knowledge:write") | RAW_BODY,
    status_code=200,
    operation_id="create_file",
)
async def create(data: Form, caller: Caller, services: Provided) -> FileObject:
    """Store a file. Attach it to a vector store to have it read."""
    stored = await files.create_file(
        services.pool,
        caller,
        filename=data.file.filename,
        purpose=data.purpose,
        parts=_parts(data.file),
    )
    return _object(stored)


@get("/", opt=needs("knowledge"), operation_id="list_files")
async def list_all(
    caller: Caller,
    services: Provided,
    limit: Limit = 100,
    after: FromQuery[str | None] = None,
    order: Order = "desc",
) -> ListPage[FileObject]:
    """List the files the caller may see: its tenant's, or its own and those of its stores."""
    cursor = Cursor(limit + 1, after=after, order=order)
    rows = await files.list_files(services.pool, caller, cursor)
    return page(rows, limit, _object)


@get("/{file_id:str}", opt=needs("knowledge"), operation_id="get_file")
async def get_one(file_id: FromPath[str], caller: Caller, services: Provided) -> FileObject:
    """Return one file without its content."""
    return _object(await files.get_file(services.pool, caller, file_id))


@get("/{file_id:str}/content", opt=needs("knowledge"), operation_id="get_file_content")
async def content(file_id: FromPath[str], caller: Caller, services: Provided) -> Stream:
    """Return a file's bytes."""
    await files.get_file(services.pool, caller, file_id)
    parts = files.read_file(services.pool, caller, file_id)
    return Stream(parts, media_type="application/octet-stream")


@delete("/{file_id:str}", opt=needs("knowledge:write"), status_code=200, operation_id="delete_file")
async def remove(file_id: FromPath[str], caller: Caller, services: Provided) -> Deleted:
    """Delete a file, and what was read from it out of every vector store."""
    await files.delete_file(services.pool, caller, file_id)
    return Deleted(file_id, "file")


def files_router(max_file_bytes: int) -> Router:
    """Return the routes, which take longer bodies than the others."""
    return Router(
        "/v1/files",
        route_handlers=[create, list_all, get_one, content, remove],
        request_max_body_size=max_file_bytes,
        tags=["files"],
    )


async def _parts(upload: UploadFile) -> AsyncIterator[bytes]:
    while part := await upload.read(_PART_BYTES):
        yield part


def _object(stored: files.StoredFile) -> FileObject:
    return FileObject(
        id=stored.id,
        bytes=stored.bytes,
        created_at=timestamp(stored.created_at),
        filename=stored.filename,
        purpose=stored.purpose,
    )
