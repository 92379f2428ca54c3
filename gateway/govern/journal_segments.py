"""What waits for PostgreSQL on the disk: files of records, each with its length and checksum.

A file is only ever appended to. Where a write was cut short, its end is told by the checksum, and
what lies before it holds.
"""

import errno
import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

_HEAD = struct.Struct("<II")
_SEALED_BYTES = 4_000_000
_SUFFIX = ".segment"


class Segments:
    """The segments of one folder. Every method may wait for the disk: call them in a thread."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._sizes = {path: path.stat().st_size for path in sorted(folder.glob(f"*{_SUFFIX}"))}
        self._number = max((int(path.stem) for path in self._sizes), default=0)
        self._open: Path | None = None

    def __bool__(self) -> bool:
        """Tell whether anything waits."""
        return bool(self._sizes)

    @property
    def size(self) -> int:
        """Return how many bytes wait."""
        return sum(self._sizes.values())

    def append(self, texts: Sequence[bytes]) -> None:
        """Write texts down, all of them or none; they are on the disk when this returns.

        Raises:
            OSError: There is no room.
        """
        frames = b"".join(frame(text) for text in texts)
        if self.size + len(frames) > self._max_bytes:
            raise OSError(errno.ENOSPC, "the journal is as long as it may be")
        if self._open is None:
            self._number += 1
            self._open = self._folder / f"{self._number:08}{_SUFFIX}"
        size = self._sizes.get(self._open, 0)
        _append(self._open, frames, size)
        self._sizes[self._open] = size + len(frames)
        if size + len(frames) > _SEALED_BYTES:
            self._open = None

    def oldest(self) -> tuple[Path, list[bytes]] | None:
        """Return the segment that waits longest; nothing is appended to it any more."""
        path = next(iter(self._sizes), None)
        if path is None:
            return None
        if path == self._open:
            self._open = None
        data = path.read_bytes()
        texts, end = parse_frames(data)
        if end < len(data):
            # Kept for whoever wants to look: what lies behind a fault may be records too.
            path.with_suffix(".torn").write_bytes(data[end:])
        return path, texts

    def remove(self, path: Path) -> None:
        """Forget a segment whose records are shipped."""
        path.unlink(missing_ok=True)
        self._sizes.pop(path, None)


def frame(text: bytes) -> bytes:
    """Return a text with its length and its checksum before it."""
    return _HEAD.pack(len(text), zlib.crc32(text)) + text


def parse_frames(data: bytes) -> tuple[list[bytes], int]:
    """Return the texts that are whole, and where the last one ends."""
    texts, at = [], 0
    while at + _HEAD.size <= len(data):
        length, checksum = _HEAD.unpack_from(data, at)
        text = data[at + _HEAD.size : at + _HEAD.size + length]
        if not length or len(text) < length or zlib.crc32(text) != checksum:
            break
        texts.append(text)
        at += _HEAD.size + length
    return texts, at


def _append(path: Path, data: bytes, size: int) -> None:
    """Append to a file of that size; leave it as it was where there is no room."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            left = memoryview(data)
            os.lseek(descriptor, size, os.SEEK_SET)
            while left:
                left = left[os.write(descriptor, left) :]
            os.fdatasync(descriptor)
        except OSError:
            os.ftruncate(descriptor, size)
            raise
    finally:
        os.close(descriptor)
