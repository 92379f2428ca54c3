"""A process's journal: a folder that is locked for as long as the process lives.

What a process leaves, however it ended, is taken over by the next one that looks, on this machine
or another that mounts the same volume: whoever holds the lock has the folder for itself.
"""

import fcntl
import os
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.govern.journal_segments import Segments
from gateway.govern.journal_slots import Left, Slots, read_slots

_SLOTS = "slots"
_LOCK = "lock"
_NEW = ".new-"


@dataclass(slots=True)
class Journal:
    """An open folder.

    Attributes:
        slots: Requests under way; nothing about them waits for the disk.
        segments: Records that wait for PostgreSQL.
    """

    folder: Path
    slots: Slots
    segments: Segments
    _lock: int

    def close(self) -> None:
        """Let it go; a folder that holds nothing any more is removed."""
        empty = not self.slots.used and not self.segments
        self.slots.close()
        if empty:
            shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._lock)


@dataclass(slots=True)
class Legacy:
    """What a process that is gone has left.

    Attributes:
        left: Its requests under way.
        segments: Its records that wait.
    """

    folder: Path
    left: Sequence[Left]
    segments: Segments
    _lock: int

    def remove(self) -> None:
        """Forget it: all of it is shipped."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.release()

    def release(self) -> None:
        """Leave it to whoever looks next."""
        os.close(self._lock)


def open_journal(root: Path, *, slots: int, max_bytes: int) -> Journal:
    """Make a folder of this process's own.

    Raises:
        OSError: It can't be made there, or the disk is full.
    """
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    name = f"{os.getpid()}-{uuid.uuid4().hex[:12]}"
    made = root / f"{_NEW}{name}"
    made.mkdir(mode=0o700)
    lock = -1
    try:
        lock = os.open(made / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        table = Slots.in_file(made / _SLOTS, slots)
        # Only now does it look like one: who looks finds it locked.
        folder = made.rename(root / name)
    except OSError:
        if lock >= 0:
            os.close(lock)
        shutil.rmtree(made, ignore_errors=True)
        raise
    return Journal(folder, table, Segments(folder, max_bytes), lock)


def find_legacy(root: Path) -> Legacy | None:
    """Return what some process left, locked for the caller; None where there is nothing."""
    for folder in sorted(root.iterdir()) if root.is_dir() else ():
        if folder.name.startswith(".") or not folder.is_dir():
            continue
        if legacy := _claim(folder):
            return legacy
    return None


def _claim(folder: Path) -> Legacy | None:
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        left = list(read_slots((folder / _SLOTS).read_bytes()))
        return Legacy(folder, left, Segments(folder, 0), lock)
    except (BlockingIOError, FileNotFoundError):
        # Its process lives, or somebody else has shipped it a moment ago.
        os.close(lock)
        return None
