"""A document into an index: copied from one that is like it, or else read."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from config.postgres import Connection
from config.settings import RetrievalSettings
from rag.attach import read_chunking
from rag.chunk import Cut
from rag.documents import Origin, Place, Written, copy_document, write_document
from rag.embed import Embedder
from rag.prepare import Preparer, Progress, Source

Write = Callable[[Connection, Place], Awaitable[Written | None]]
"""Writes a document; None where it has nothing to write."""

Commit = Callable[[Write], Awaitable[bool | None]]
"""Writes a document in a transaction, where it is still wanted, and tells how that went.

None where there was nothing to write; the rest is for whoever gave it.
"""


@dataclass(frozen=True, slots=True)
class Target:
    """The index a document is read for, and how: with which model, cut in which way."""

    index_id: int
    embedder: Embedder
    cut: Cut


async def put_document(
    preparer: Preparer, source: Source, target: Target, progress: Progress, commit: Commit
) -> bool:
    """Put a document into an index; return what `commit` told.

    Raises:
        UnreadableDocument: It can't be read; the reason is for its owner.
        NotFound: The file is gone.
    """
    digest = _digest(source, target, preparer.context)
    if digest:
        copied = await commit(partial(copy_document, made_from=digest))
        if copied is not None:
            return copied
    rows = await preparer.prepare(source, target.cut, target.embedder, progress)
    if preparer.context and not all(row.chunk.context for row in rows):
        digest = None  # not one to copy: another time the model may answer
    return bool(await commit(partial(write_document, rows=rows, made_from=digest)))


def cut_of(file: str | None, index: str | None, settings: RetrievalSettings) -> Cut:
    """Return how a file is cut: as it asks, else as its index does, else as the settings say."""
    chunking = read_chunking(file) or read_chunking(index)
    if chunking is None:
        return Cut(settings.chunk_tokens)
    return Cut(chunking.max_tokens, chunking.overlap_tokens)


def _digest(source: Source, target: Target, context: str) -> bytes | None:
    """Return a hash of all that decides what the document will be; None for old files."""
    if source.sha256 is None:
        return None
    space = target.embedder.space
    return Origin(source.sha256, source.filename, target.cut, space, context).digest
