"""What the two legs find: chunks by their words, chunks by their meaning."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from config.postgres import Connection, load_queries
from config.scope import TenantScope
from rag.embedding_wire import Vector
from rag.errors import NotFound, StoreExpired
from rag.files import storable
from rag.filters import Filter, compile_filter
from rag.types import Passage

_SQL = load_queries("rag", "search.sql")


@dataclass(frozen=True, slots=True)
class Index:
    """The live index of a store.

    Attributes:
        id: Its own.
        store_id: The store's.
        shard: The partition of its legs; 0 is shared.
        space: `rag.embed.Embedder.space` of its vectors; '' when there are none, or of several.
        touch: Whether the store's last use is to be written down.
    """

    id: int
    store_id: str
    shard: int
    space: str
    touch: bool


@dataclass(frozen=True, slots=True)
class Reach:
    """What is searched at once: indexes of one vector space.

    Attributes:
        space: The vector space's name.
        indexes: At least one.
        documents: The only ones that count; None for all.
        limit: How many chunks each leg finds.
    """

    space: str
    indexes: Sequence[Index]
    documents: Sequence[int] | None
    limit: int

    @property
    def ids(self) -> list[int]:
        """Return the indexes' ids."""
        return [index.id for index in self.indexes]


async def live_indexes(
    con: Connection, scope: TenantScope, store_ids: Sequence[str]
) -> list[Index]:
    """Return the stores' live indexes by id.

    Raises:
        NotFound: The caller has no such store.
        StoreExpired: One was not used for too long.
    """
    wanted = {storable(id_): id_ for id_ in store_ids}
    limits = scope.tenant, scope.allowed.vector_stores
    rows = await con.fetch(_SQL["live_indexes"], *limits, list(wanted))
    own = {row["store_id"]: row for row in rows}
    for stored, id_ in wanted.items():
        if stored not in own:
            raise NotFound("vector store", id_)
        if own[stored]["expired"]:
            raise StoreExpired(id_)
    return [Index(*(row[field] for field in Index.__dataclass_fields__)) for row in rows]


async def touch(con: Connection, store_ids: Sequence[str]) -> None:
    """Write down that the stores were used just now."""
    await con.execute(_SQL["touch"], store_ids)


async def eligible(con: Connection, indexes: Sequence[Index], wanted: Filter) -> list[int]:
    """Return the documents whose files the filter matches."""
    condition = compile_filter(wanted, column="f.attributes", first=2)
    query = _SQL["eligible"].replace("{condition}", condition.sql)
    ids = [index.id for index in indexes]
    found: list[int] | None = await con.fetchval(query, ids, *condition.arguments)
    return found or []


async def by_words(con: Connection, reach: Reach, terms: str) -> list[int]:
    """Return the chunks of the highest BM25; `terms` is the text of the question's vector."""
    rows = await con.fetch(_SQL["lexical"], reach.ids, terms, reach.limit, reach.documents)
    return [row["chunk_id"] for row in rows]


async def by_meaning(con: Connection, reach: Reach, embedding: Vector) -> list[int]:
    """Return the chunks of the nearest vectors."""
    rows = await con.fetch(_SQL["dense"], reach.ids, embedding, reach.limit, reach.documents)
    return [row["chunk_id"] for row in rows]


async def read_passages(
    con: Connection, chunk_ids: Sequence[int], terms: str, embedding: Vector | None
) -> list[Passage]:
    """Return the chunks that are still there, with both legs' scores."""
    rows = await con.fetch(_SQL["passages"], chunk_ids, terms, embedding)
    return [_passage(row) for row in rows]


def _passage(row: asyncpg.Record) -> Passage:
    return Passage(
        chunk_id=f"{row['file_id']}#{row['ordinal']}",
        document_id=row["file_id"],
        store_id=row["store_id"],
        source=row["filename"],
        page=row["page"],
        start=row["start_char"],
        end=row["end_char"],
        content=row["content"],
        heading=row["heading"],
        score=0.0,
        lexical=row["lexical"],
        similarity=row["similarity"],
        attributes=json.loads(row["attributes"]),
    )
