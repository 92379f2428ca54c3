"""What goes between a model's worker and its clients: msgpack behind a length."""

import asyncio
import struct
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

Vector = Sequence[float]
"""An `array` of type code `f` and of length 1 (L2), so that an inner product is the cosine."""

Kind = Literal["query", "document"]
"""What a text is for: some models want another prompt before each."""


class Counted(NamedTuple):
    """Vectors, and how many tokens their texts are together; 0 where nobody counted."""

    vectors: list[Vector]
    tokens: int


class EmbedRequest(msgspec.Struct, tag="embed"):
    """What an embedding worker is asked."""

    texts: list[str]
    kind: Kind = "document"
    whole: bool = False
    """Whether the texts are taken as they are, without prompts: tokens are counted, and a text that
    would be cut is refused."""
    id: int = 0


class RerankRequest(msgspec.Struct, tag="rerank"):
    """What a reranking worker is asked: one score for each text."""

    query: str
    texts: list[str]
    max_tokens: int = 0
    """How much of each text is read, if that is less than the model would."""
    id: int = 0


Request = EmbedRequest | RerankRequest


class Withdrawal(msgspec.Struct, tag="withdrawal"):
    """Nobody waits for the answer to a request any more: it need not be computed."""

    id: int


class Response(msgspec.Struct):
    """A worker's answer: float32 numbers, `dimensions` for each text, or why there are none."""

    id: int
    dimensions: int = 0
    numbers: bytes = b""
    error: str = ""
    tokens: list[int] = []
    limit: int = 0
    """Tokens the model reads of one text; 0 where there is no limit."""

    @property
    def too_long(self) -> bool:
        """Tell whether a text was longer than the model reads: then there are no numbers."""
        return 0 < self.limit < max(self.tokens, default=0)


def frame(message: bytes) -> bytes:
    """Return a message behind its length, 4 bytes big-endian."""
    return struct.pack(">I", len(message)) + message


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    """Return the next message.

    Raises:
        EOFError: The other side has hung up.
    """
    (length,) = struct.unpack(">I", await reader.readexactly(4))
    return await reader.readexactly(length)


def split_vectors(response: Response) -> list[Vector]:
    """Return the vectors of a worker's answer."""
    flat = array("f", response.numbers)
    size = response.dimensions
    return [flat[start : start + size] for start in range(0, len(flat), size)]


def worker_socket(folder: Path, name: str = "") -> Path:
    """Return where an embedding worker listens: the default model's, or another's by its name."""
    return folder / (f"embedding-{name}.sock" if name else "embedding.sock")


def reranker_socket(folder: Path) -> Path:
    """Return where the reranking worker listens."""
    return folder / "reranker.sock"


def tokenizer_file(socket: Path) -> Path:
    """Return where a worker leaves its model's tokenizer before it listens, if it has one."""
    return socket.with_name(f"{socket.name}.tokenizer.json")
