"""What the two legs find: chunks by their words, chunks by their meaning.

A small index, or what a filter leaves of a large one, is scanned row by row: that misses nothing.
A large one is asked through its graph and its postings (`rag.shards`); where these give fewer rows
than there may be, the rows are scanned all the same.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import asyncpg

from config.postgres import Connection, load_queries
from config.scope import TenantScope
from rag.embedding_wire import Vector
from rag.errors import NotFound, StoreExpired
from rag.files import storable
from rag.filters import Filter, compile_filter
from rag.types import Passage, Place

_SQL = load_queries("rag", "search.sql")

# Of 100,000 chunks these keep 99 % of the best ten and more: docs/decisions/011-large-stores.md.
_EF_SEARCH = "400"
_POOL_PER_RESULT = 10  # chunks whose whole score is computed
_POSTINGS_PER_POOLED = 25  # postings that are counted to choose them
_LIKELY_IMPACT = 1.3
"""What a chunk holds of one of the question's common words; the bound itself, 1.7 (`rag.lexical`),
reads twice the postings for the last thousandth of recall."""


_SCANNED_BY_WORDS = 5_000
"""So many chunks are scanned as fast as postings are counted."""
_SCANNED_BY_MEANING = 20_000

_JOINED = "JOIN unnest(${n}::bigint[]) AS wanted (document) USING (document)"
# Not a join, which would come before the graph's order.
_FILTERED = "AND (t.document IN (SELECT unnest(${n}::bigint[]))) IS TRUE"


@dataclass(frozen=True, slots=True)
class Index:
    """The live index of a store.

    Attributes:
        id: Its own.
        store_id: The store's.
        shard: The partition of its legs; 0 is shared.
        space: `rag.embed.Embedder.space` of its vectors; '' when there are none, or of several.
        last_posted: Chunks up to this one are in the postings.
        touch: Whether the store's last use is to be written down.
    """

    id: int
    store_id: str
    shard: int
    space: str
    last_posted: int
    touch: bool


@dataclass(frozen=True, slots=True)
class Eligible:
    """What a filter leaves of an index.

    Attributes:
        documents: Which.
        chunks: How many chunks they have.
        share: How many of the index's these are, above 0 to 1.
    """

    documents: Sequence[int]
    chunks: int
    share: float


@dataclass(frozen=True, slots=True)
class Part:
    """What one statement searches: a large index, or small ones of one vector space.

    Attributes:
        space: The vector space's name.
        shard: Their partition.
        indexes: Their ids.
        eligible: What a filter leaves of them; None without one.
        last_posted: Of a large index.
        limit: How many chunks each leg finds.
        exact: Whether every row is scanned.
    """

    space: str
    shard: int
    indexes: Sequence[int]
    eligible: Eligible | None
    last_posted: int
    limit: int
    exact: bool

    def scans(self, bound: int) -> bool:
        """Tell whether the rows are scanned, up to `bound` of those that a filter leaves."""
        few = self.eligible is not None and self.eligible.chunks <= bound
        return self.exact or not self.shard or few

    def query(self, name: str, wanted: str, parameters: int) -> str:
        """Return a statement; where a filter leaves less, `wanted` follows its `parameters`."""
        condition = wanted.replace("{n}", str(parameters + 1)) if self.eligible else ""
        return _SQL[name].replace("{wanted}", condition)

    def arguments(self, *own: object) -> tuple[object, ...]:
        """Return the arguments of a statement, `own` and what all have."""
        documents = [self.eligible.documents] if self.eligible else []
        return (self.shard, self.indexes, self.limit, *own, *documents)


@dataclass(frozen=True, slots=True)
class Words:
    """A question's words.

    Attributes:
        vector: All of them, as the text of a `sparsevec`.
        found: Term, number of its chunks and weight of those that occur, the heaviest first.
    """

    vector: str
    found: Sequence[tuple[int, int, float]]


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
    if any(row["shard"] for row in rows):
        await con.execute(_SQL["plan_for_values"], _EF_SEARCH)
    return [Index(*(row[field] for field in Index.__dataclass_fields__)) for row in rows]


async def touch(con: Connection, store_ids: Sequence[str]) -> None:
    """Write down that the stores were used just now."""
    await con.execute(_SQL["touch"], store_ids)


async def eligible(
    con: Connection, indexes: Sequence[Index], wanted: Filter
) -> dict[int, Eligible]:
    """Return of each index the documents whose files the filter matches."""
    condition = compile_filter(wanted, column="f.attributes", first=2)
    query = _SQL["eligible"].replace("{condition}", condition.sql)
    rows = await con.fetch(query, [index.id for index in indexes], *condition.arguments)
    return {
        row["index_id"]: Eligible(
            row["documents"] or [], row["chunks"], row["chunks"] / max(row["every"], 1)
        )
        for row in rows
    }


def parts_of(
    indexes: Sequence[Index], left: Mapping[int, Eligible] | None, limit: int, *, exact: bool
) -> list[Part]:
    """Return what is searched, one part for each vector space of the small indexes together."""
    groups: dict[tuple[str, int], list[Index]] = {}
    for index in indexes:
        groups.setdefault((index.space, index.shard), []).append(index)
    parts = []
    for (space, shard), group in sorted(groups.items()):
        ids = [index.id for index in group]
        what = None if left is None else _together([left[i] for i in ids if i in left])
        if what is None or what.documents:
            parts.append(Part(space, shard, ids, what, group[0].last_posted, limit, exact))
    return parts


def _together(several: Sequence[Eligible]) -> Eligible | None:
    """Return what is left of several indexes; None where that is all of them."""
    if several and all(each.share == 1 for each in several):
        return None
    documents = [document for each in several for document in each.documents]
    share = min((each.share for each in several), default=0.0)
    return Eligible(documents, sum(each.chunks for each in several), share)


async def by_words(con: Connection, part: Part, words: Words) -> list[int]:
    """Return the chunks of the highest BM25."""
    if not part.scans(_SCANNED_BY_WORDS):
        found = await _posted(con, part, words)
        if found is not None:
            return found
    query = part.query("lexical", _JOINED, 4)
    rows = await con.fetch(query, *part.arguments(words.vector))
    return [row["chunk_id"] for row in rows]


async def _posted(con: Connection, part: Part, words: Words) -> list[int] | None:
    """Return what the postings find; None when that may be too little.

    The heaviest terms are asked first; more of them as long as the others are likely to lift a
    chunk that was not chosen among the best (after MaxScore, Turtle and Flood 1995).
    """
    query = part.query("posted", _JOINED, 8)
    pool = int(_POOL_PER_RESULT * part.limit / (part.eligible.share if part.eligible else 1.0))
    budget = _POSTINGS_PER_POOLED * pool
    asked = _within(words.found, pool, budget)
    while True:
        terms = [term for term, _, _ in words.found[:asked]]
        weights = [weight for _, _, weight in words.found[:asked]]
        own = words.vector, terms, weights, pool, part.last_posted
        rows = await con.fetch(query, *part.arguments(*own))
        full = bool(rows) and rows[0]["pool"] == pool
        enough = len(rows) == part.limit
        if asked == len(words.found):
            return [row["chunk_id"] for row in rows] if enough or not full else None
        if enough:
            lead = rows[part.limit // 4]["score"] - (rows[0]["floor"] if full else 0)
            needed = _leaving(words.found, lead / _LIKELY_IMPACT)
        else:
            budget *= 4
            needed = max(asked + 1, _within(words.found, pool, budget))
        if needed <= asked:
            return [row["chunk_id"] for row in rows]
        asked = needed


def _within(found: Sequence[tuple[int, int, float]], pool: int, budget: int) -> int:
    """Return how many of the terms are asked: as the budget of postings allows, some at least."""
    counted = 0
    for place, (_, df, _) in enumerate(found):
        counted += df
        if counted > budget and counted - df >= 2 * pool:
            return place
    return len(found)


def _leaving(found: Sequence[tuple[int, int, float]], weight: float) -> int:
    """Return how many terms are to be asked so that the others weigh no more than that."""
    left = 0.0
    for place in range(len(found), 0, -1):
        left += found[place - 1][2]
        if left > weight:
            return place
    return 0


async def by_meaning(con: Connection, part: Part, embedding: Vector) -> list[int]:
    """Return the chunks of the nearest vectors."""
    if not part.scans(_SCANNED_BY_MEANING):
        query = part.query("near", _FILTERED, 4).replace("{numbers}", str(len(embedding)))
        rows = await con.fetch(query, *part.arguments(embedding))
        if len(rows) == part.limit:
            return [row["chunk_id"] for row in rows]
    query = part.query("dense", _JOINED, 4)
    rows = await con.fetch(query, *part.arguments(embedding))
    return [row["chunk_id"] for row in rows]


async def at_places(con: Connection, part: Part, places: Sequence[Place]) -> list[int]:
    """Return the chunks that hold something of the places, however they are cut today."""
    if not places:
        return []
    columns = zip(*((p.document_id, p.page, p.start, p.end) for p in places), strict=True)
    wanted = part.eligible.documents if part.eligible else None
    rows = await con.fetch(_SQL["at_places"], part.indexes, wanted, *map(list, columns))
    return [row["id"] for row in rows]


async def read_passages(
    con: Connection, part: Part, chunk_ids: Sequence[int], words: Words, embedding: Vector | None
) -> list[Passage]:
    """Return the chunks that are still there, with both legs' scores."""
    own = chunk_ids, part.shard, words.vector, embedding
    rows = await con.fetch(_SQL["passages"], *own)
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
