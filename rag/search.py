"""Hybrid search: BM25 and embeddings, fused by the average of their normalised scores.

Both legs scan their stores' rows exactly: no approximate index can return too few rows.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import asyncpg

from config.postgres import Connection, load_queries, tenant_transaction
from config.scope import TenantScope
from rag.embed import Embedder
from rag.embedding_wire import Vector
from rag.errors import EmbedderUnavailable, NotFound
from rag.files import storable
from rag.lexical import query_vector, term_id, term_weights, tokens
from rag.lexicon import read_statistics
from rag.types import Passage, Retrieval

_SQL = load_queries("rag", "search.sql")
_log = logging.getLogger(__name__)

_DENSE_WEIGHT = 0.5
_CANDIDATES_PER_RESULT = 4
_MIN_CANDIDATES = 20
# What comes behind says nothing new, and each word costs time.
_MAX_QUESTION_CHARS = 4000
_EMBED_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class _Question:
    terms: str
    embedding: Vector | None


async def search(
    db_pool: asyncpg.Pool,
    embedder: Embedder,
    scope: TenantScope,
    store_ids: Sequence[str],
    question: str,
    *,
    k: int,
) -> Retrieval:
    """Return the `k` best passages of the stores.

    The embedding has no vote when its model does not know the question's language, when a
    document was read with another model, or when it can't be reached.

    Raises:
        NotFound: The caller has no such store.
    """
    text = question[:_MAX_QUESTION_CHARS]
    words = dict.fromkeys(tokens(text))
    # Two transactions: no connection waits for the embedding.
    async with tenant_transaction(db_pool, scope.tenant) as con:
        found = await _live_indexes(con, scope, store_ids)
        indexes = [row["id"] for row in found]
        statistics = await read_statistics(con, indexes, [term_id(word) for word in words])
    weights = term_weights(words, statistics)
    same_space = {row["space"] for row in found} == {embedder.space}
    embedding = await _embed(embedder, text) if same_space else None
    limit = max(_MIN_CANDIDATES, _CANDIDATES_PER_RESULT * k)
    async with tenant_transaction(db_pool, scope.tenant) as con:
        rows = await con.fetch(_SQL["candidates"], indexes, query_vector(weights), embedding, limit)
    passages = [_passage(row) for row in rows]
    # No vector of the stores may be of this model: then it had no vote either.
    dense_weight = _DENSE_WEIGHT if any(p.similarity is not None for p in passages) else 0.0
    best = _without_repeats(_fused(passages, dense_weight))[:k]
    return Retrieval(question, tuple(best), weights, dense_weight)


async def _live_indexes(
    con: Connection, scope: TenantScope, store_ids: Sequence[str]
) -> list[asyncpg.Record]:
    wanted = {storable(id_): id_ for id_ in store_ids}
    limits = scope.tenant, scope.allowed.vector_stores
    rows: list[asyncpg.Record] = await con.fetch(_SQL["live_indexes"], *limits, list(wanted))
    own = {row["store_id"] for row in rows}
    for stored, id_ in wanted.items():
        if stored not in own:
            raise NotFound("vector store", id_)
    return rows


async def _embed(embedder: Embedder, text: str) -> Vector | None:
    """Return the question's vector, or None when it may not vote."""
    if not text.strip() or not embedder.knows(text):
        return None
    try:
        async with asyncio.timeout(_EMBED_TIMEOUT_S):
            return (await embedder.embed([text], "query"))[0]
    except (EmbedderUnavailable, TimeoutError) as error:
        _log.warning("searched without embeddings: %s", type(error).__name__)
        return None


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
    )


def _fused(found: Sequence[Passage], dense_weight: float) -> list[Passage]:
    """Return the passages with their fused scores, best first; ties by document and place."""
    lexical = _normalised([passage.lexical for passage in found])
    dense = _normalised([passage.similarity for passage in found])
    scored = [
        replace(passage, score=(1 - dense_weight) * words + dense_weight * meaning)
        for passage, words, meaning in zip(found, lexical, dense, strict=True)
    ]
    return sorted(scored, key=lambda p: (-p.score, p.document_id, p.start, p.store_id))


def _normalised(scores: Sequence[float | None]) -> list[float]:
    """Scale to 0..1 over the candidates; one without a score gets the least."""
    known = [score for score in scores if score is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    span = high - low
    return [0.0 if s is None else (s - low) / span if span else float(high > 0) for s in scores]


def _without_repeats(ranked: Sequence[Passage]) -> list[Passage]:
    """Leave out what overlaps a better passage of the same page: one file may be in two stores."""
    kept: list[Passage] = []
    for passage in ranked:
        if not any(_overlap(passage, better) for better in kept):
            kept.append(passage)
    return kept


def _overlap(one: Passage, other: Passage) -> bool:
    same_page = (one.document_id, one.page) == (other.document_id, other.page)
    return same_page and one.start < other.end and other.start < one.end
