"""A folder of this machine, read without ever leaving it.

Every part of a path is opened from the folder above it, links refused (O_NOFOLLOW): whoever may
write into the folder can't lead a run out of it, also not between two looks. Links inside are
skipped like those that lead out.
"""

import asyncio
import errno
import io
import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from config.sync import SyncSettings
from rag.sync.origins import MAX_KEY_BYTES, FolderOrigin, folder_place, relative_parts
from rag.sync.reading import Fetched, Listed, Listing, NotFetched, Spool

_PART_BYTES = 1 << 20
_FRESH_NS = 2_000_000_000
"""A file may change again within its time stamp's resolution: then the stamp proves nothing."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class FolderReader:
    """Reads the documents of a folder and of those beneath it."""

    def __init__(
        self, settings: SyncSettings, tenant: str, origin: FolderOrigin, mounts: frozenset[str]
    ) -> None:
        self._root = folder_place(settings, tenant, origin).path
        self._top = relative_parts(origin.path, "path")
        self._mounts = mounts
        self._settings = settings

    async def list(self) -> Listing:
        """Walk the folder."""
        walk = _Walk(self._settings.max_items, self._settings.listing_timeout_s)
        listing = walk.listing
        try:
            async with asyncio.timeout(self._settings.listing_timeout_s):
                await asyncio.to_thread(walk.run, self._root, self._top)
        except TimeoutError:
            # A thread that hangs in the kernel can't be ended: what it still finds is not taken.
            listing = Listing(incomplete="the folder did not answer in time")
        except OSError as error:
            listing.incomplete = f"the folder can't be read: {error.strerror}"
        if lost := self._mounts - listing.mounts:
            listing.incomplete = f"`{min(lost)}` was a volume of its own and is not mounted now"
        return listing

    async def fetch(self, item: Listed, known: str, into: Spool) -> Fetched:
        """Read a file that is not the one it was."""
        del known
        try:
            async with asyncio.timeout(self._settings.item_timeout_s):
                fingerprint = await asyncio.to_thread(self._read, item.key, into)
        except TimeoutError:
            raise NotFetched("it was not read in time") from None
        except OSError as error:
            raise NotFetched(f"it can't be read: {error.strerror}") from None
        return Fetched(fingerprint, PurePosixPath(item.key).name)

    async def is_gone(self, key: str) -> bool:
        """Look whether it is a file."""
        try:
            async with asyncio.timeout(self._settings.item_timeout_s):
                return await asyncio.to_thread(self._is_gone, key)
        except TimeoutError:
            raise NotFetched("the folder did not answer in time") from None
        except OSError as error:
            raise NotFetched(f"it can't be looked for: {error.strerror}") from None

    async def close(self) -> None:
        """Nothing is open."""

    def _is_gone(self, key: str) -> bool:
        *folders, name = PurePosixPath(key).parts
        try:
            with _opened(self._root, (*self._top, *folders)) as folder:
                return not stat.S_ISREG(os.lstat(name, dir_fd=folder).st_mode)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return True
            raise

    def _read(self, key: str, into: Spool) -> str:
        *folders, name = PurePosixPath(key).parts
        place = (*self._top, *folders)
        with _opened(self._root, place) as folder, _opened_file(folder, name) as file:
            before = os.fstat(file.fileno())
            if not stat.S_ISREG(before.st_mode):
                raise NotFetched("it is no regular file any more")
            into.check_size(before.st_size)
            while piece := file.read(_PART_BYTES):
                into.write(piece)
            after = os.fstat(file.fileno())
        if _fingerprint(before) != _fingerprint(after):
            raise NotFetched("it was changed while it was read")
        return "" if _is_fresh(after) else _fingerprint(after)


class _Walk:
    """One walk through a folder, in a thread."""

    def __init__(self, max_items: int, timeout_s: float) -> None:
        self.listing = Listing()
        self._mounts: set[str] = set()
        self._max_items = max_items
        self._deadline = time.monotonic() + timeout_s

    def run(self, root: Path, top: Sequence[str]) -> None:
        """Find every file; a folder that can't be read makes the listing incomplete.

        Raises:
            OSError: The top folder can't be read.
        """
        waiting: list[tuple[str, ...]] = [()]
        while waiting and time.monotonic() < self._deadline:
            parts = waiting.pop()
            try:
                waiting += self._look(root, (*top, *parts), parts)
            except OSError as error:
                if not parts:
                    raise
                name = "/".join(parts)
                self.listing.incomplete = f"`{name}` can't be read: {error.strerror}"
        if waiting:
            self.listing.incomplete = "the folder did not answer in time"
        self.listing.mounts = frozenset(self._mounts)

    def _look(
        self, root: Path, place: Sequence[str], parts: tuple[str, ...]
    ) -> list[tuple[str, ...]]:
        """Take up the files of one folder and return the folders in it."""
        inside = []
        with _opened(root, place) as folder, os.scandir(folder) as entries:
            device = _device(os.fstat(folder))
            if not parts and _device(os.stat("..", dir_fd=folder)) != device:
                self._mounts.add(".")
            for entry in entries:
                path = (*parts, entry.name)
                if entry.name.startswith(".") or not _is_storable(path):
                    self.listing.skipped += 1
                    continue
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    inside.append(path)
                    if _device(status) != device:
                        self._mounts.add("/".join(path))
                elif not stat.S_ISREG(status.st_mode):
                    self.listing.skipped += 1
                elif not self._take(path, status):
                    return []
        return inside

    def _take(self, path: Sequence[str], status: os.stat_result) -> bool:
        fingerprint = _fingerprint(status)
        item = Listed("/".join(path), fingerprint, status.st_size)
        return self.listing.add(item, self._max_items)


@contextmanager
def _opened(root: Path, parts: Sequence[str]) -> Iterator[int]:
    """Open a folder beneath the root, part by part."""
    # The root is the operator's own: it may be a link.
    opened = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts:
            inner = os.open(part, _FOLDER, dir_fd=opened)
            os.close(opened)
            opened = inner
        yield opened
    finally:
        os.close(opened)


def _opened_file(folder: int, name: str) -> io.FileIO:
    """Open a file in a folder; of a pipe it does not wait for the other end."""
    return io.FileIO(os.open(name, _FILE, dir_fd=folder), "rb")


def _is_storable(path: Sequence[str]) -> bool:
    """Tell whether a path is UTF-8 and not too long to be kept."""
    try:
        return len("/".join(path).encode()) <= MAX_KEY_BYTES
    except UnicodeEncodeError:
        return False


def _device(status: os.stat_result) -> int:
    return status.st_dev


def _fingerprint(status: os.stat_result) -> str:
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"


def _is_fresh(status: os.stat_result) -> bool:
    return time.time_ns() - status.st_mtime_ns < _FRESH_NS
