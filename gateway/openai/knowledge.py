"""Files and vector stores on the wire. OpenAI API reference, `/v1/files`, `/v1/vector_stores`."""

from typing import Annotated, Generic, Literal, TypeVar

import msgspec
from msgspec import Meta

_Item = TypeVar("_Item")

Metadata = Annotated[dict[str, Annotated[str, Meta(max_length=512)]], Meta(max_length=16)]


class ListPage(msgspec.Struct, Generic[_Item]):
    """A page of a list; `has_more` says whether `after=last_id` gives more."""

    data: list[_Item]
    first_id: str | None
    last_id: str | None
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
    object: Literal["file"] = "file"
    status: Literal["processed"] = "processed"


class FileCounts(msgspec.Struct):
    """How many of a store's files are in which state."""

    in_progress: int
    completed: int
    failed: int
    cancelled: int
    total: int


class VectorStoreObject(msgspec.Struct):
    """A knowledge base."""

    id: str
    created_at: int
    name: str
    usage_bytes: int
    file_counts: FileCounts
    status: Literal["in_progress", "completed"]
    last_active_at: int | None
    metadata: dict[str, str]
    object: Literal["vector_store"] = "vector_store"


class LastError(msgspec.Struct):
    """Why a file could not be read."""

    code: str
    message: str


class VectorStoreFileObject(msgspec.Struct):
    """A file in a store."""

    id: str
    usage_bytes: int
    created_at: int
    vector_store_id: str
    status: Literal["in_progress", "completed", "failed", "cancelled"]
    last_error: LastError | None
    object: Literal["vector_store.file"] = "vector_store.file"


class CreateVectorStore(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /v1/vector_stores`."""

    name: Annotated[str, Meta(max_length=256)] = ""
    file_ids: Annotated[list[str], Meta(max_length=500)] = []
    metadata: Metadata | None = None


class AddFile(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /v1/vector_stores/{id}/files`."""

    file_id: str


class SearchStore(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /v1/vector_stores/{id}/search`."""

    query: Annotated[str, Meta(min_length=1, max_length=8000)]
    max_num_results: Annotated[int, Meta(ge=1, le=50)] = 10


class TextContent(msgspec.Struct):
    """A found text."""

    text: str
    type: Literal["text"] = "text"


class SearchResult(msgspec.Struct):
    """A found chunk; page, span and legs are Naru's."""

    file_id: str
    filename: str
    score: float
    content: list[TextContent]
    page: int | None
    start: int
    end: int
    chunk_id: str
    lexical: float
    similarity: float | None
    attributes: dict[str, str] = {}


class SearchResults(msgspec.Struct):
    """What a search answers."""

    search_query: list[str]
    data: list[SearchResult]
    has_more: bool = False
    next_page: None = None
    object: Literal["vector_store.search_results.page"] = "vector_store.search_results.page"
