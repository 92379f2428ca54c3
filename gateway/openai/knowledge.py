"""Files and vector stores on the wire. OpenAI API reference, `/v1/files`, `/v1/vector_stores`.

In a body a null means that the field is absent, but for updates, where it takes a value away.
"""

from typing import Annotated, Generic, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

_Item = TypeVar("_Item")

Id = Annotated[str, Meta(min_length=1, max_length=64)]
Name = Annotated[str, Meta(max_length=256)]
Metadata = Annotated[
    dict[Annotated[str, Meta(min_length=1, max_length=64)], Annotated[str, Meta(max_length=512)]],
    Meta(max_length=16),
]
Attribute = (
    Annotated[str, Meta(max_length=512)]
    | bool
    | Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
    | float
)
Attributes = Annotated[
    dict[Annotated[str, Meta(min_length=1, max_length=64)], Attribute], Meta(max_length=16)
]
Purpose = Literal["assistants", "batch", "fine-tune", "vision", "user_data", "evals"]
Status = Literal["in_progress", "completed", "failed", "cancelled"]


class ListPage(msgspec.Struct, Generic[_Item]):
    """A page of a list; `has_more` says whether there is more in its direction.

    Without objects the ids are empty: OpenAI's schema knows no null there.
    """

    data: list[_Item]
    first_id: str
    last_id: str
    has_more: bool
    object: Literal["list"] = "list"


class Deleted(msgspec.Struct):
    """What a DELETE answers."""

    id: str
    object: str
    deleted: bool = True


class FileObject(msgspec.Struct):
    """An uploaded file."""

    id: str
    bytes: int
    created_at: int
    filename: str
    purpose: str
    expires_at: int | UnsetType = UNSET
    object: Literal["file"] = "file"
    status: Literal["processed"] = "processed"


class ExpiresAfter(msgspec.Struct, forbid_unknown_fields=True):
    """After how many days without use a store expires."""

    days: Annotated[int, Meta(ge=1, le=365)]
    anchor: Literal["last_active_at"]


class StaticSizes(msgspec.Struct, forbid_unknown_fields=True):
    """Sizes in tokens of the store's embedding model, whose own limit holds all the same."""

    max_chunk_size_tokens: Annotated[int, Meta(ge=100, le=4096)]
    chunk_overlap_tokens: Annotated[int, Meta(ge=0, le=2048)]

    def __post_init__(self) -> None:
        if 2 * self.chunk_overlap_tokens > self.max_chunk_size_tokens:
            raise ValueError("chunk_overlap_tokens: at most half of max_chunk_size_tokens")


class AutoChunking(msgspec.Struct, tag_field="type", tag="auto", forbid_unknown_fields=True):
    """How files are cut is left to the service."""


class StaticChunking(msgspec.Struct, tag_field="type", tag="static", forbid_unknown_fields=True):
    """Files are cut into pieces of this size."""

    static: StaticSizes


class OtherChunking(msgspec.Struct, tag_field="type", tag="other"):
    """In answers: the service has cut the file as it saw fit."""


ChunkingStrategy = AutoChunking | StaticChunking


class FileCounts(msgspec.Struct):
    """How many files are in which state."""

    in_progress: int
    completed: int
    failed: int
    cancelled: int
    total: int


class LastError(msgspec.Struct):
    """Why a file could not be read."""

    code: str
    message: str


class ReindexObject(msgspec.Struct):
    """How reading a store again goes, or went the last time.

    `documents_total` is how many are to be in the new index, as far as it is known by now.
    """

    status: Literal["in_progress", "completed", "failed"]
    model: str
    chunking_strategy: ChunkingStrategy
    started_at: int
    documents_done: int
    documents_total: int
    last_error: LastError | None


class VectorStoreObject(msgspec.Struct):
    """A knowledge base; `description` and `reindex` are Naru's."""

    id: str
    created_at: int
    name: str
    usage_bytes: int
    file_counts: FileCounts
    status: Literal["expired", "in_progress", "completed"]
    last_active_at: int
    metadata: dict[str, str]
    description: str | UnsetType = UNSET
    expires_after: ExpiresAfter | UnsetType = UNSET
    expires_at: int | UnsetType = UNSET
    reindex: ReindexObject | UnsetType = UNSET
    object: Literal["vector_store"] = "vector_store"


class CreateVectorStore(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /v1/vector_stores`; `chunking_strategy` is for the files named here."""

    name: Name | None = None
    description: Annotated[str, Meta(max_length=1024)] | None = None
    file_ids: Annotated[list[Id], Meta(max_length=500)] | None = None
    chunking_strategy: ChunkingStrategy | None = None
    expires_after: ExpiresAfter | None = None
    metadata: Metadata | None = None


class UpdateVectorStore(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /v1/vector_stores/{id}`: what is absent stays, null takes it away."""

    name: Name | UnsetType | None = UNSET
    expires_after: ExpiresAfter | UnsetType | None = UNSET
    metadata: Metadata | UnsetType | None = UNSET


class StartReindex(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /v1/vector_stores/{id}/reindex`: what is absent stays as it is.

    `chunking_strategy` is for files that have none of their own.
    """

    model: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    chunking_strategy: ChunkingStrategy | None = None


class Progress(msgspec.Struct):
    """How far reading a file has come; `chunks_total` is null until it is cut."""

    chunks_done: int
    chunks_total: int | None


class VectorStoreFileObject(msgspec.Struct):
    """A file in a store; `progress` is Naru's, while the file is in progress."""

    id: str
    usage_bytes: int
    created_at: int
    vector_store_id: str
    status: Status
    last_error: LastError | None
    attributes: dict[str, Attribute]
    chunking_strategy: StaticChunking | OtherChunking
    progress: Progress | UnsetType = UNSET
    object: Literal["vector_store.file"] = "vector_store.file"


class AddFile(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /v1/vector_stores/{id}/files`."""

    file_id: Id
    attributes: Attributes | None = None
    chunking_strategy: ChunkingStrategy | None = None


class UpdateFile(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /v1/vector_stores/{id}/files/{file_id}`: they replace the file's own."""

    attributes: Attributes | None


class ContentPart(msgspec.Struct):
    """Text that was read from a file; `page` is Naru's, null where the format has no pages."""

    text: str
    page: int | None
    type: Literal["text"] = "text"


class FileContent(msgspec.Struct):
    """What was read from a file, page by page, all of it."""

    data: list[ContentPart]
    has_more: bool = False
    next_page: None = None
    object: Literal["vector_store.file_content.page"] = "vector_store.file_content.page"


class CreateBatch(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /v1/vector_stores/{id}/file_batches`: `file_ids` or `files`.

    `attributes` and `chunking_strategy` are for those files that bring none of their own.
    """

    file_ids: Annotated[list[Id], Meta(min_length=1, max_length=2000)] | None = None
    files: Annotated[list[AddFile], Meta(min_length=1, max_length=2000)] | None = None
    attributes: Attributes | None = None
    chunking_strategy: ChunkingStrategy | None = None

    def __post_init__(self) -> None:
        if (self.file_ids is None) == (self.files is None):
            raise ValueError("give either file_ids or files")


class BatchObject(msgspec.Struct):
    """Files that were attached together."""

    id: str
    created_at: int
    vector_store_id: str
    status: Status
    file_counts: FileCounts
    object: Literal["vector_store.files_batch"] = "vector_store.files_batch"
