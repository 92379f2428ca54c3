"""Documents in an index: how one is written, and how one that is there already is copied."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from config.postgres import Connection, load_queries
from rag.chunk import Cut
from rag.embedding_wire import Vector
from rag.lexicon import count_document
from rag.types import Chunk

_SQL = load_queries("rag", "documents.sql")
_ROWS = 200  # in one statement: their numbers are encoded on the event loop
_WRITE_TIMEOUT_S = 600.0
_NUMBER = "%.6g".__mod__
_VERSION = 3
"""Raise it when documents are read, cut or indexed in another way: then none is copied."""


@dataclass(frozen=True, slots=True)
class Row:
    """A chunk with what the two legs search; `text_hash` is of what the model reads."""

    chunk: Chunk
    terms: str
    text_hash: bytes
    embedding: Vector | None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a document is written: an index with its shard, as a file of a store."""

    index_id: int
    shard: int
    store_id: str
    file_id: str


class Origin(msgspec.Struct, frozen=True, omit_defaults=True):
    """Everything that decides what the rows of a document are."""

    sha256: bytes
    filename: str
    cut: Cut
    space: str
    context: str = ""
    """Who writes the contexts, if anybody does."""

    @property
    def digest(self) -> bytes:
        """Return a hash of it."""
        return hashlib.blake2b(msgspec.msgpack.encode((_VERSION, self)), digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class Written:
    """What was written of a document: how many chunks, and the bytes of their text."""

    chunks: int
    bytes: int


async def write_document(
    con: Connection, place: Place, rows: Sequence[Row], made_from: bytes | None
) -> Written:
    """Write a document; its store's indexes are locked."""
    size = sum(len(row.chunk.content.encode()) for row in rows)
    document = await _insert(con, place, Written(len(rows), size), made_from)
    for start in range(0, len(rows), _ROWS):
        values = _columns(rows[start : start + _ROWS])
        where = place.shard, place.index_id, document
        await con.execute(_SQL["insert_chunks"], *where, *values, timeout=_WRITE_TIMEOUT_S)
    await count_document(con, place.index_id, document, place.shard)
    return Written(len(rows), size)


async def copy_document(con: Connection, place: Place, made_from: bytes) -> Written | None:
    """Write a document like one that the tenant has already; None when it has none.

    The store's indexes are locked.
    """
    found = await con.fetchrow(_SQL["same_document"], made_from)
    if found is None:
        return None
    written = Written(found["chunk_count"], found["usage_bytes"])
    document = await _insert(con, place, written, made_from)
    where = place.shard, place.index_id, document
    copied = await con.fetchval(
        _SQL["copy_chunks"], *where, found["id"], found["shard"], timeout=_WRITE_TIMEOUT_S
    )
    if copied != written.chunks:  # deleted while we looked
        await con.execute(_SQL["delete_document"], document)
        return None
    await count_document(con, place.index_id, document, place.shard)
    return written


async def _insert(con: Connection, place: Place, written: Written, made_from: bytes | None) -> int:
    values = place.index_id, place.store_id, place.file_id, written.chunks, written.bytes
    document: int = await con.fetchval(_SQL["insert_document"], *values, made_from)
    return document


def vector_text(vector: Vector) -> str:
    """Return a vector as the text of a `halfvec`: a `real[]` is encoded number by number."""
    return f"[{','.join(map(_NUMBER, vector))}]"


def _columns(rows: Sequence[Row]) -> tuple[object, ...]:
    chunks = [row.chunk for row in rows]
    return (
        *([c.ordinal for c in chunks], [c.page for c in chunks]),
        *([c.start for c in chunks], [c.end for c in chunks]),
        *([c.heading for c in chunks], [c.content for c in chunks]),
        [c.context for c in chunks],
        *([row.terms for row in rows], [row.text_hash for row in rows]),
        [None if row.embedding is None else vector_text(row.embedding) for row in rows],
    )
