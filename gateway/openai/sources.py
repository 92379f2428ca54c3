"""Sources of vector stores on the wire: Naru's own, beside OpenAI's API."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

Schedule = Literal["hourly", "daily", "weekly"]
PlaceName = Annotated[str, Meta(min_length=1, max_length=64)]
Path = Annotated[str, Meta(max_length=1024)]
Urls = Annotated[
    list[Annotated[str, Meta(min_length=1, max_length=1024)]], Meta(min_length=1, max_length=1000)
]


class Folder(msgspec.Struct, forbid_unknown_fields=True, tag_field="kind", tag="folder"):
    """A folder that the operator has named, or one beneath it."""

    folder: PlaceName
    path: Path = ""


class Bucket(msgspec.Struct, forbid_unknown_fields=True, tag_field="kind", tag="bucket"):
    """A bucket that the operator has named, or what is beneath a prefix of it."""

    bucket: PlaceName
    prefix: Path = ""


class UrlList(msgspec.Struct, forbid_unknown_fields=True, tag_field="kind", tag="urls"):
    """Web pages and files at hosts that the operator has listed."""

    urls: Urls


Origin = Folder | Bucket | UrlList


class CreateSource(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /v1/vector_stores/{id}/sources`."""

    origin: Origin
    schedule: Schedule | None = None


class UpdateSource(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `PATCH /v1/vector_stores/{id}/sources/{source_id}`; no schedule is by hand alone."""

    schedule: Schedule | UnsetType | None = UNSET
    urls: Urls | UnsetType = UNSET


class SourceRun(msgspec.Struct):
    """How the last run of a source went, or goes."""

    status: Literal["in_progress", "completed", "failed"]
    complete: bool
    reason: str | None
    listed: int
    added: int
    changed: int
    removed: int
    unchanged: int
    failed: int
    skipped: int
    started_at: int
    finished_at: int | None


class SourceFailure(msgspec.Struct):
    """A document that could not be fetched."""

    key: str
    reason: str


class SourceObject(msgspec.Struct):
    """What a vector store is kept in step with."""

    id: str
    vector_store_id: str
    created_at: int
    origin: Origin
    schedule: Schedule | None
    next_run_at: int | None
    last_complete_at: int | None
    last_run: SourceRun | None
    failures: list[SourceFailure]
    object: Literal["vector_store.source"] = "vector_store.source"
