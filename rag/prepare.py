"""From a stored file to a document's rows: parsed, cut, embedded where that is not done yet."""

import asyncio
import contextlib
import functools
import hashlib
import logging
import os
from array import array
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import asyncpg

from config.postgres import load_queries, tenant_transaction
from config.scope import TenantScope
from config.settings import RetrievalSettings
from rag.bulk import BulkEmbedder
from rag.chunk import Cut, document_head, embedded_texts, indexed_text
from rag.context import ContextWriter, write_contexts
from rag.documents import Row, vector_text
from rag.embed import Embedder
from rag.embedding_wire import Vector
from rag.errors import EmbedderUnavailable, NotFound, UnreadableDocument
from rag.files import read_file
from rag.lexical import document_vector
from rag.parse.apart import Parser, Reading
from rag.ruler import RulerSource, open_ruler
from rag.storage import IN_POSTGRES, Storage
from rag.types import Chunk

_SQL = load_queries("rag", "prepare.sql")
_log = logging.getLogger(__name__)

_PARSED_AT_ONCE = max(2, os.cpu_count() or 1)
_EMBED_BATCH = 64
_LOOKED_UP = 256  # hashes at a time
_MAX_REFUSALS = 5  # of a model that answers others
_PAUSE_S = 1.0  # after the embedder failed, doubling

T = TypeVar("T")

_ruler = functools.cache(open_ruler)


@dataclass(slots=True)
class Progress:
    """How far a document is; `total` is None until it is cut."""

    done: int = 0
    total: int | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """A file of a store that is to be read; those of long ago have no hash."""

    tenant: str
    store_id: str
    file_id: str
    filename: str
    sha256: bytes | None


class Preparer:
    """Prepares documents, of which as many are parsed at a time as there are cores."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        parser: Parser,
        settings: RetrievalSettings,
        storage: Storage = IN_POSTGRES,
        writer: ContextWriter | None = None,
    ) -> None:
        self._pool = pool
        self._storage = storage
        self._parser = parser
        self._settings = settings
        self._parsing = asyncio.Semaphore(_PARSED_AT_ONCE)
        self._writer = writer
        self._bulks: dict[str, BulkEmbedder] = {}

    @property
    def context(self) -> str:
        """Who writes the chunks' contexts, and how long ones; empty where nobody does."""
        return f"{self._writer.model} {self._writer.max_tokens}" if self._writer else ""

    async def close(self) -> None:
        """End the requests to models that are under way."""
        for bulk in self._bulks.values():
            await bulk.close()

    async def prepare(
        self, source: Source, cut: Cut, embedder: Embedder, progress: Progress
    ) -> list[Row]:
        """Return a document's rows, however long the embedding model is away.

        Raises:
            UnreadableDocument: It can't be read; the reason is for its owner.
            NotFound: The file is gone.
            FilesUnavailable: The bucket it is in can't be used.
        """
        ruler = await self._ruler_of(embedder)
        reading = await self._parse(source, cut, ruler)
        progress.total = len(reading.chunks)
        if self._writer:
            chunks = await write_contexts(self._writer, reading.chunks)
            texts_of = partial(_embedded, chunks, source.filename, ruler)
            reading = Reading(chunks, await asyncio.to_thread(texts_of))
        hashes = [_hash(text) for text in reading.texts]
        texts = dict(zip(hashes, reading.texts, strict=True))
        # Here, where the stems of the last documents' words are remembered.
        terms = await asyncio.to_thread(_terms, reading.chunks, source.filename)
        vectors = await self._vectors(source, embedder, texts, progress)
        return [
            Row(chunk, words, text_hash, vectors.get(text_hash))
            for chunk, words, text_hash in zip(reading.chunks, terms, hashes, strict=True)
        ]

    async def _ruler_of(self, embedder: Embedder) -> RulerSource:
        tokenizer = await _patiently(embedder, embedder.tokenizer)
        reserved = self._writer.max_tokens if self._writer else 0
        return RulerSource(tokenizer, embedder.languages, reserved)

    async def _parse(self, source: Source, cut: Cut, ruler: RulerSource) -> Reading:
        scope = TenantScope(source.tenant, client="", scopes=frozenset())
        async with self._parsing:
            parts = read_file(self._pool, scope, source.file_id, self._storage)
            data = b"".join([part async for part in parts])
            return await self._parser.read(
                *(source.filename, data),
                cut=cut,
                ruler=ruler,
                timeout_s=self._settings.parse_timeout_s,
            )

    async def _vectors(
        self, source: Source, embedder: Embedder, texts: Mapping[bytes, str], progress: Progress
    ) -> dict[bytes, Vector]:
        """Return the vectors of the texts in a language of the model, by their hashes."""
        hashes = [text_hash for text_hash, text in texts.items() if embedder.knows(text)]
        vectors: dict[bytes, Vector] = {}
        for known in _batches(hashes, _LOOKED_UP):
            vectors |= await self._known(source, embedder.space, known)
        missing = [text_hash for text_hash in hashes if text_hash not in vectors]
        progress.done = len(texts) - len(missing)
        for batch in _batches(missing, _EMBED_BATCH):
            asked = [texts[text_hash] for text_hash in batch]
            found = await self._embed(embedder, asked)
            vectors.update(zip(batch, found, strict=True))
            if len(missing) > _EMBED_BATCH:
                await self._keep(source, embedder.space, batch, found)
            progress.done += len(batch)
        return vectors

    async def _embed(self, embedder: Embedder, texts: Sequence[str]) -> list[Vector]:
        """Embed with what other documents have; alone where that fails, be it their fault."""
        bulk = self._bulks.setdefault(embedder.space, BulkEmbedder(embedder))
        try:
            return await bulk.embed(texts)
        except EmbedderUnavailable:
            return await _patiently(embedder, partial(embedder.embed, texts))

    async def _known(
        self, source: Source, space: str, hashes: Sequence[bytes]
    ) -> dict[bytes, Vector]:
        """Return the vectors that the tenant's documents have, or that a crash left of this one."""
        ids = source.store_id, source.file_id
        async with tenant_transaction(self._pool, source.tenant) as con:
            rows = await con.fetch(_SQL["known_embeddings"], space, hashes, *ids)
        return {row["text_hash"]: array("f", row["embedding"]) for row in rows}

    async def _keep(
        self, source: Source, space: str, hashes: Sequence[bytes], vectors: Sequence[Vector]
    ) -> None:
        """Keep what a long document has so far, so that a crash does not cost it.

        Raises:
            NotFound: The file was taken out of the store.
        """
        vector_texts = [vector_text(vector) for vector in vectors]
        values = source.store_id, source.file_id, space, hashes, vector_texts
        try:
            async with tenant_transaction(self._pool, source.tenant) as con:
                await con.execute(_SQL["keep_embeddings"], *values)
        except asyncpg.ForeignKeyViolationError as error:
            raise NotFound("vector store file", source.file_id) from error


async def _patiently(embedder: Embedder, ask: Callable[[], Awaitable[T]]) -> T:
    """Return what the model answers, however long it is away.

    Raises:
        UnreadableDocument: The model is there, and yet does not answer this.
    """
    for failures in range(_MAX_REFUSALS):
        try:
            return await ask()
        except EmbedderUnavailable as error:
            _log.warning("reading documents waits for the embedding model: %s", error)
        await _until_back(embedder, _PAUSE_S * 2**failures)
    raise UnreadableDocument(
        "the embedding model gives no answer for this file's text", code="server_error"
    )


async def _until_back(embedder: Embedder, pause_s: float) -> None:
    while True:
        await asyncio.sleep(pause_s)
        with contextlib.suppress(EmbedderUnavailable):
            await embedder.check()
            return


def _embedded(chunks: Sequence[Chunk], filename: str, ruler: RulerSource) -> list[str]:
    return embedded_texts(chunks, filename, _ruler(ruler))


def _terms(chunks: Sequence[Chunk], filename: str) -> list[str]:
    head = document_head(chunks)
    return [
        document_vector(indexed_text(chunk, filename), head if chunk.ordinal else "")
        for chunk in chunks
    ]


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).digest()


def _batches(items: Sequence[bytes], size: int) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
