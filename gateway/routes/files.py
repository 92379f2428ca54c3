"""`/v1/files`. OpenAI API reference."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Literal
from urllib.parse import quote

import msgspec
from litestar import Router, delete, get, post
from litestar.datastructures import UploadFile
from litestar.params import FromPath, FromQuery, MultipartBody
from litestar.response import Stream
from msgspec import UNSET, Meta

from gateway.errors import InvalidRequest
from gateway.guards import RAW_BODY, Caller, needs
from gateway.lifespan import Provided
from gateway.openai.knowledge import Deleted, FileObject, ListPage, Purpose
from gateway.routes.pages import FileLimit, page, timestamp
from rag import Cursor, files
from rag.paging import Order

_PART_BYTES = 1_048_576
_ANCHOR, _SECONDS = "expires_after[anchor]", "expires_after[seconds]"


class Upload(msgspec.Struct, forbid_unknown_fields=True):
    """The form of an upload."""

    file: UploadFile
    purpose: Purpose = "assistants"
    anchor: Literal["created_at"] | None = msgspec.field(default=None, name=_ANCHOR)
    seconds: Annotated[int, Meta(ge=3600, le=2_592_000)] | None = msgspec.field(
        default=None, name=_SECONDS
    )


Form = MultipartBody[Upload]


@post(
    "/",
    opt=needs("knowledge:write") | RAW_BODY,
    status_code=200,
    operation_id="create_file",
)
async def create(data: Form, caller: Caller, services: Provided) -> FileObject:
    """Store a file. Attach it to a vector store to have it read."""
    if (data.anchor is None) != (data.seconds is None):
        missing = _ANCHOR if data.anchor is None else _SECONDS
        raise InvalidRequest(f"{missing}: required beside the other one", param=missing)
    stored = await files.create_file(
        services.pool,
        caller,
        filename=data.file.filename,
        purpose=data.purpose,
        parts=_parts(data.file),
        expires_after_s=data.seconds,
        storage=services.storage,
    )
    return _object(stored)


@get("/", opt=needs("knowledge"), operation_id="list_files")
async def list_all(
    caller: Caller,
    services: Provided,
    limit: FileLimit = 10_000,
    after: FromQuery[str | None] = None,
    order: FromQuery[Order] = "desc",
    purpose: FromQuery[str | None] = None,
) -> ListPage[FileObject]:
    """List the files the caller may see: its tenant's, or its own and those of its stores."""
    cursor = Cursor(limit + 1, after or None, order=order)
    rows = await files.list_files(services.pool, caller, cursor, purpose=purpose)
    # Ten thousand take long enough for others to notice.
    return await asyncio.to_thread(page, rows, limit, _object)


@get("/{file_id:str}", opt=needs("knowledge"), operation_id="get_file")
async def get_one(file_id: FromPath[str], caller: Caller, services: Provided) -> FileObject:
    """Return one file without its content."""
    return _object(await files.get_file(services.pool, caller, file_id))


@get("/{file_id:str}/content", opt=needs("knowledge"), operation_id="get_file_content")
async def content(file_id: FromPath[str], caller: Caller, services: Provided) -> Stream:
    """Return a file's bytes, always as a download: what they are is their owner's word alone."""
    file = await files.get_file(services.pool, caller, file_id)
    parts = files.read_file(services.pool, caller, file_id, services.storage)
    # The first part is there before the answer begins: then it can still be that there is none.
    first = await anext(parts, b"")
    return Stream(
        _begun(first, parts),
        media_type="application/octet-stream",
        headers={
            "content-length": str(file.bytes),
            "content-disposition": f"attachment; filename*=UTF-8''{quote(file.filename, safe='')}",
            "x-content-type-options": "nosniff",
        },
    )


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


async def _begun(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for part in rest:
        yield part


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
        expires_at=timestamp(stored.expires_at) if stored.expires_at else UNSET,
    )
