"""Requests under way, each in a slot of a file that is mapped into memory.

What is stored in mapped memory is the kernel's at once: it is there after the process was killed at
any instruction, and nothing blocks. A slot has two halves. A text is written to the half that does
not count, and one byte makes that half count: there is no moment at which a slot is half written.
"""

import mmap
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from gateway.openai.usage import TokenUsage

SLOT_BYTES = 4096
_FIRST, _SECOND = 8, 2048 + 8
_HEAD = struct.Struct("@II4Q")
_UNCOUNTED = struct.Struct("@II32x")
_COUNTS_AT = 8
ROOM = 2048 - 8 - _HEAD.size
"""Longest text of a slot, in bytes."""

_FREE = 0
# The byte that counts: 1 and 2 say which half of an open request, 3 and 4 which of one that ended.
_ENDED = 2
_START_OF = (_SECOND, _FIRST, _SECOND, _FIRST, _SECOND)
"""Where the half that counts begins, by that byte; of a free slot the second: the first is next."""
_NEXT = ((_FIRST, 1), (_SECOND, 2), (_FIRST, 1), (_SECOND, 2), (_FIRST, 1))
"""Where the other half begins, and the byte that makes it count, by that byte."""
_WORD = 8
_COUNTS_OF = tuple((start + _COUNTS_AT) // _WORD for start in _START_OF)
"""Which word of the slot is the first count, by that byte."""


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
        at, memory = slot * SLOT_BYTES, self._memory
        start, state = _NEXT[memory[at]]
        start += at
        data = _UNCOUNTED.pack(len(text), crc32(text)) + text
        memory[start : start + len(data)] = data
        memory[at] = state + _ENDED if ended else state

    def count(self, slot: int, usage: TokenUsage) -> None:
        """Note the tokens so far beside the text that the slot holds."""
        at, words = slot * SLOT_BYTES, self._words
        first = at // _WORD + _COUNTS_OF[self._memory[at]]
        words[first] = usage.prompt_tokens
        words[first + 1] = usage.completion_tokens
        words[first + 2] = usage.cached_tokens
        words[first + 3] = usage.estimated

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
        start = at + _START_OF[state]
        length, checksum, prompt, completion, cached, estimated = _HEAD.unpack_from(table, start)
        text = table[start + _HEAD.size : start + _HEAD.size + length]
        if length <= ROOM and crc32(text) == checksum:
            counted = TokenUsage(prompt, completion, cached, bool(estimated))
            yield Left(text, state > _ENDED, counted)
