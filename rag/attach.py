"""Files into stores: one way for a single file, a new store's files and a batch."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import asyncpg

from config.postgres import Connection, load_queries
from config.scope import TenantScope
from rag.errors import AlreadyAttached, NotFound
from rag.files import comparable, find_files, storable

_SQL = load_queries("rag", "attach.sql")

Attributes = Mapping[str, str | int | float | bool]
"""What a file is filtered by in searches."""


@dataclass(frozen=True, slots=True)
class Chunking:
    """How a file is cut, in tokens of the store's embedding model.

    What passes the model's limit is cut to it.
    """

    max_tokens: int
    overlap_tokens: int


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file to be read into a store.

    Attributes:
        id: The file's own.
        attributes: Without any it keeps those it has in the store.
        chunking: None leaves it to us.
    """

    id: str
    attributes: Attributes | None = None
    chunking: Chunking | None = None


async def attach(
    con: Connection,
    scope: TenantScope,
    store_id: str,
    files: Sequence[NewFile],
    batch_id: str | None = None,
) -> None:
    """Have files read into a store the caller may use, inside a transaction: all of them or none.

    A file that is there already keeps what was read of it; it is read again only where that failed
    or was cancelled. It belongs to the last batch that named it.

    Raises:
        NotFound: The caller has no such file, or the store was deleted meanwhile.
        AlreadyAttached: A file is in the store, cut in another way than is asked for.
    """
    wanted = {storable(file.id): file for file in files}
    await find_files(con, scope, [file.id for file in files])
    # Two that attach the same files take them in the same order: neither waits for the other.
    ids = sorted(wanted)
    attributes = [_attributes_column(wanted[id_]) for id_ in ids]
    chunking = [_chunking_column(wanted[id_]) for id_ in ids]
    try:
        await con.execute(_SQL["touch"], store_id)
        taken = await con.fetch(_SQL["attach"], store_id, ids, attributes, chunking, batch_id)
    except asyncpg.ForeignKeyViolationError as error:  # deleted since we looked
        raise NotFound("vector store or file", store_id) from error
    if left := wanted.keys() - {row["file_id"] for row in taken}:
        raise AlreadyAttached(min(left))
    await con.execute(_SQL["retry"], store_id, ids, chunking)
    await con.execute(_SQL["enqueue_reading"], store_id, ids)


def attributes_json(attributes: Attributes) -> str:
    """Return attributes as PostgreSQL takes them, and filters compare them."""
    pairs = {
        comparable(key): comparable(value) if isinstance(value, str) else value
        for key, value in attributes.items()
    }
    return json.dumps(pairs, ensure_ascii=False)


def chunking_json(chunking: Chunking) -> str:
    """Return it as PostgreSQL takes it: OpenAI's `static`."""
    return json.dumps(
        {
            "max_chunk_size_tokens": chunking.max_tokens,
            "chunk_overlap_tokens": chunking.overlap_tokens,
        }
    )


def read_chunking(text: str | None) -> Chunking | None:
    """Return what was kept of it."""
    if text is None:
        return None
    fields = json.loads(text)
    return Chunking(fields["max_chunk_size_tokens"], fields["chunk_overlap_tokens"])


def _attributes_column(file: NewFile) -> str | None:
    return attributes_json(file.attributes) if file.attributes else None


def _chunking_column(file: NewFile) -> str | None:
    return chunking_json(file.chunking) if file.chunking else None
