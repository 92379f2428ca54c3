"""Requests under way, each in a slot of a file that is mapped into memory.

What is stored in mapped memory is the kernel's at once: it is there after the process was killed at
any instruction, and nothing blocks. A slot has two halves. A text is written to the half that does
not count, and one byte makes that half count: there is no moment at which a slot is half written.
"""

import mmap
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway.openai.usage import TokenUsage

SLOT_BYTES = 4096
_HALVES = (8, 2048 + 8)
_HEAD = struct.Struct("@II4Q")
_COUNTS_AT = 8
ROOM = 2048 - 8 - _HEAD.size
"""Longest text of a slot, in bytes."""

_FREE = 0
# The byte that counts: 1 and 2 say which half of an open request, 3 and 4 which of one that ended.
_ENDED = 2
_HALF_OF = (1, 0, 1, 0, 1)
"""Which half counts, by that byte; of a free slot the second, so that the first is next."""


@dataclass(frozen=True, slots=True)
class Left:
    """What a slot holds: its text, and the tokens that were counted after it was written."""

    text: bytes
    ended: bool
    counted: TokenUsage


class Slots:
    """A table of slots; one process writes it."""

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory
        # One store each: `struct` would clear the bytes first.
        self._words = memoryview(memory).cast("Q")
        self._size = len(memory) // SLOT_BYTES
        self._free = list(range(self._size))

    @classmethod
    def in_file(cls, path: Path, count: int) -> "Slots":
        """Make the table in a file whose blocks are there from the beginning.

        Raises:
            OSError: The disk has no room for it.
        """
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, count * SLOT_BYTES)
            return cls(mmap.mmap(descriptor, count * SLOT_BYTES))
        finally:
            os.close(descriptor)

    @classmethod
    def in_memory(cls, count: int) -> "Slots":
        """Make a table that ends with the process."""
        return cls(mmap.mmap(-1, count * SLOT_BYTES))

    @property
    def used(self) -> int:
        """Return how many slots are taken."""
        return self._size - len(self._free)

    @property
    def crowded(self) -> bool:
        """Tell whether half of the slots are taken."""
        return self.used * 2 > self._size

    def take(self) -> int | None:
        """Return a slot of the caller's own; None where there is none left."""
        return self._free.pop() if self._free else None

    def write(self, slot: int, text: bytes, *, ended: bool = False) -> None:
        """Let the slot hold another text, of at most `ROOM` bytes, with nothing counted yet."""
        at = slot * SLOT_BYTES
        memory, length = self._memory, len(text)
        half = 1 - _HALF_OF[memory[at]]
        start = at + _HALVES[half]
        _HEAD.pack_into(memory, start, length, zlib.crc32(text), 0, 0, 0, 0)
        start += _HEAD.size
        memory[start : start + length] = text
        memory[at] = 1 + half + (_ENDED if ended else 0)

    def count(self, slot: int, usage: TokenUsage) -> None:
        """Note the tokens so far beside the text that the slot holds."""
        at = slot * SLOT_BYTES
        first = (at + _HALVES[_HALF_OF[self._memory[at]]] + _COUNTS_AT) // 8
        words = self._words
        words[first] = usage.prompt_tokens
        words[first + 1] = usage.completion_tokens
        words[first + 2] = usage.cached_tokens
        words[first + 3] = usage.estimated

    def text(self, slot: int) -> bytes:
        """Return what the slot holds."""
        start = slot * SLOT_BYTES + _HALVES[_HALF_OF[self._memory[slot * SLOT_BYTES]]]
        (length, *_) = _HEAD.unpack_from(self._memory, start)
        return self._memory[start + _HEAD.size : start + _HEAD.size + length]

    def release(self, slot: int) -> None:
        """Give the slot back."""
        self._memory[slot * SLOT_BYTES] = _FREE
        self._free.append(slot)

    def flush(self, slot: int) -> None:
        """Wait until the slot is on the disk."""
        self._memory.flush(slot * SLOT_BYTES, SLOT_BYTES)

    def close(self) -> None:
        """Let the memory go; what the slots hold stays in the file."""
        self._words.release()
        self._memory.close()


def read_slots(table: bytes) -> Iterator[Left]:
    """Yield what the slots of a process that ended hold; a slot that is no slot is passed over."""
    for at in range(0, len(table) - SLOT_BYTES + 1, SLOT_BYTES):
        state = table[at]
        if state not in (1, 2, 3, 4):
            continue
        start = at + _HALVES[_HALF_OF[state]]
        length, checksum, prompt, completion, cached, estimated = _HEAD.unpack_from(table, start)
        text = table[start + _HEAD.size : start + _HEAD.size + length]
        if length <= ROOM and zlib.crc32(text) == checksum:
            counted = TokenUsage(prompt, completion, cached, bool(estimated))
            yield Left(text, state > _ENDED, counted)
