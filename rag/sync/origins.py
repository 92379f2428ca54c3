"""Where a source's documents come from, and whether its tenant may read there.

An origin holds names alone; what they stand for, and whose they are, the operator's settings say.
They are asked when a source is made and again at each run.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import msgspec

from config.outbound import HostNotAllowed, Outbound, UrlRefused
from config.sync import BucketPlace, FolderPlace, Place, SyncSettings
from rag.errors import SourceRefused

MAX_KEY_BYTES = 1024
"""Longest key of a document: what PostgreSQL can index, and S3's own limit."""

Kind = Literal["folder", "bucket", "urls"]

_P = TypeVar("_P", bound=Place)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class FolderOrigin:
    """A folder beneath the one that the operator calls `folder`; `path` is relative to that."""

    folder: str
    path: str = ""


@dataclass(frozen=True, slots=True)
class BucketOrigin:
    """The bucket that the operator calls `bucket`, or what is beneath `prefix/` in it."""

    bucket: str
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class UrlsOrigin:
    """Web pages and files, each by its URL."""

    urls: tuple[str, ...]


Origin = FolderOrigin | BucketOrigin | UrlsOrigin

KINDS: dict[Kind, type[Origin]] = {
    "folder": FolderOrigin,
    "bucket": BucketOrigin,
    "urls": UrlsOrigin,
}


def kind_of(origin: Origin) -> Kind:
    """Return the name of the origin's kind."""
    return next(kind for kind, type_ in KINDS.items() if isinstance(origin, type_))


def origin_json(origin: Origin) -> str:
    """Return an origin as it is kept."""
    return msgspec.json.encode(origin).decode()


def read_origin(kind: Kind, text: str) -> Origin:
    """Return an origin as it was kept."""
    origin: Origin = msgspec.json.decode(text, type=KINDS[kind])
    return origin


def folder_place(settings: SyncSettings, tenant: str, origin: FolderOrigin) -> FolderPlace:
    """Return the folder an origin names.

    Raises:
        SourceRefused: There is none, or it is not this tenant's to read.
    """
    return _place(settings.folders.get(origin.folder), tenant, "folder", origin.folder)


def bucket_place(settings: SyncSettings, tenant: str, origin: BucketOrigin) -> BucketPlace:
    """Return the bucket an origin names.

    Raises:
        SourceRefused: There is none, or it is not this tenant's to read.
    """
    return _place(settings.buckets.get(origin.bucket), tenant, "bucket", origin.bucket)


def open_outbound(settings: SyncSettings, tenant: str) -> Outbound:
    """Return what fetches from the hosts that this tenant may read; the caller closes it."""
    hosts = [place.host for place in settings.hosts if place.is_open_to(tenant)]
    return Outbound(hosts, settings.allowed_networks, {"accept": "*/*"})


def check_origin(settings: SyncSettings, tenant: str, origin: Origin) -> None:
    """Refuse what this tenant may not read, or nobody can.

    Raises:
        SourceRefused: Says what to change.
    """
    match origin:
        case FolderOrigin():
            folder_place(settings, tenant, origin)
            relative_parts(origin.path, "path")
        case BucketOrigin():
            bucket_place(settings, tenant, origin)
            relative_parts(origin.prefix, "prefix")
        case UrlsOrigin():
            _check_urls(open_outbound(settings, tenant), origin.urls)


def relative_parts(path: str, param: str) -> tuple[str, ...]:
    """Return the parts of a path that leads nowhere but down; slashes at its ends are left out.

    Raises:
        SourceRefused: It is none.
    """
    parts = tuple(path.strip("/").split("/")) if path.strip("/") else ()
    if any(part in ("", ".", "..") for part in parts) or _CONTROL.search(path):
        raise SourceRefused(f"{param}: write it like `handbooks/2026`, without `.` or `..`", param)
    if len(path.encode("utf-8", "replace")) > MAX_KEY_BYTES:
        raise SourceRefused(f"{param}: at most {MAX_KEY_BYTES} bytes", param)
    return parts


def _check_urls(outbound: Outbound, urls: Sequence[str]) -> None:
    for number, url in enumerate(urls):
        param = f"urls[{number}]"
        if len(url.encode("utf-8", "replace")) > MAX_KEY_BYTES or _CONTROL.search(url):
            raise SourceRefused(f"{param}: at most {MAX_KEY_BYTES} bytes, none of control", param)
        try:
            outbound.check(url)
        except HostNotAllowed as error:
            hint = "ask the operator to add it to `sync.hosts`"
            raise SourceRefused(f"{param}: {error} of this tenant: {hint}", param) from None
        except (UrlRefused, OSError) as error:
            raise SourceRefused(f"{param}: {error}", param) from None


def _place(found: _P | None, tenant: str, kind: str, name: str) -> _P:
    if found is None or not found.is_open_to(tenant):
        hint = f"ask the operator to add it to `sync.{kind}s`"
        raise SourceRefused(f"{kind}: no {kind} {name!r} is open to this tenant: {hint}", kind)
    return found
