"""What a run asks of a source, whatever its kind."""

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Protocol, Self

_PART_BYTES = 1 << 20


class NotFetched(Exception):
    """This document can't be had now; the message is for the source's owner."""


class Gone(Exception):
    """The source says that this document is no more."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A document as a listing tells of it.

    Attributes:
        key: Path, object key or URL.
        fingerprint: Changes whenever the document does; None where only asking for it tells.
        size: In bytes, or None where that is not known before.
    """

    key: str
    fingerprint: str | None
    size: int | None


@dataclass(slots=True)
class Listing:
    """What a source holds.

    Attributes:
        items: By key.
        incomplete: Why this may not be all; None when it is.
        skipped: How many things were seen that are no documents: links, devices, hidden files.
        mounts: Subfolders on volumes of their own.
    """

    items: dict[str, Listed] = field(default_factory=dict)
    incomplete: str | None = None
    skipped: int = 0
    mounts: frozenset[str] = frozenset()

    def add(self, item: Listed, max_items: int) -> bool:
        """Take up an item; return False, and be incomplete, where there are too many."""
        if len(self.items) >= max_items and item.key not in self.items:
            self.incomplete = f"there are more than {max_items:,} documents"
            return False
        self.items[item.key] = item
        return True


@dataclass(frozen=True, slots=True)
class Fetched:
    """A document that came: its fingerprint as of now, and what to call it."""

    fingerprint: str
    filename: str


class Reader(Protocol):
    """One source, opened for one run. Every wait of it has a timeout."""

    async def list(self) -> Listing:
        """Return what is there; a fault makes it incomplete, and is not raised."""

    async def fetch(self, item: Listed, known: str, into: "Spool") -> Fetched | None:
        """Fetch a document, or return None where it is still as its fingerprint `known` says.

        Raises:
            NotFetched: It can't be had now.
            Gone: The source says that it is no more.
        """

    async def is_gone(self, key: str) -> bool:
        """Tell whether a document that was not listed is really not there.

        Raises:
            NotFetched: That can't be told.
        """

    async def close(self) -> None:
        """Close what is open."""


class Spool:
    """A document on its way, hashed and bounded; large ones are on disk while it is open."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._file = tempfile.SpooledTemporaryFile(max_size=_PART_BYTES)  # noqa: SIM115 - closed
        self._hash = hashlib.sha256()
        self.size = 0

    @property
    def sha256(self) -> bytes:
        """Return the hash of what came so far."""
        return self._hash.digest()

    def check_size(self, size: int | None) -> None:
        """Refuse a document that is said to be too large.

        Raises:
            NotFetched: It is.
        """
        if size is not None and size > self._max_bytes:
            raise NotFetched(f"over the limit of {self._max_bytes:,} bytes")

    def write(self, piece: bytes) -> None:
        """Take a piece; it may go to the disk: not for the event loop.

        Raises:
            NotFetched: The document is too large, or there is no room for it.
        """
        self.check_size(self.size + len(piece))
        try:
            self._file.write(piece)
        except OSError as error:
            raise NotFetched(f"no room for it here: {error.strerror}") from None
        self._hash.update(piece)
        self.size += len(piece)

    async def parts(self) -> AsyncIterator[bytes]:
        """Yield it from the beginning, 1 MiB at most at once."""
        await asyncio.to_thread(self._file.seek, 0)
        while part := await asyncio.to_thread(self._file.read, _PART_BYTES):
            yield part

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
