"""What goes between the embedding worker and its clients: msgpack behind a length."""

import asyncio
import struct
from array import array
from collections.abc import Sequence

import msgspec

Vector = Sequence[float]
"""An `array` of type code `f` and of length 1 (L2), so that an inner product is the cosine."""


class Request(msgspec.Struct):
    """What the worker is asked, msgpack behind a 4-byte big-endian length."""

    id: int
    texts: list[str]
    whole: bool = False
    """Whether tokens are counted, and a text that would be cut is refused."""


class Response(msgspec.Struct):
    """The worker's answer: float32 vectors one behind the other, or why there are none."""

    id: int
    dimensions: int = 0
    vectors: bytes = b""
    error: str = ""
    tokens: list[int] = []
    limit: int = 0

    @property
    def too_long(self) -> bool:
        """Tell whether a text was longer than the model reads: then there are no vectors."""
        return 0 < self.limit < max(self.tokens, default=0)


def frame(message: bytes) -> bytes:
    """Return a message behind its length, as client and worker send it."""
    return struct.pack(">I", len(message)) + message


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    """Return the next message.

    Raises:
        EOFError: The other side has hung up.
    """
    (length,) = struct.unpack(">I", await reader.readexactly(4))
    return await reader.readexactly(length)


def split_vectors(response: Response) -> list[Vector]:
    """Return the vectors of the worker's answer."""
    flat = array("f", response.vectors)
    size = response.dimensions
    return [flat[start : start + size] for start in range(0, len(flat), size)]
