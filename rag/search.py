"""Hybrid search: BM25 and embeddings, fused by the average of their normalised scores.

How each leg finds its candidates stands in `rag.legs`.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from operator import add
from typing import TypeVar

import asyncpg
from msgspec.structs import replace

from config.postgres import UNREACHABLE, Connection, tenant_transaction
from config.scope import TenantScope
from config.tasks import end_task
from rag.embed import Embedder, Embedders
from rag.embedding_wire import Vector
from rag.errors import EmbedderUnavailable, RerankerUnavailable
from rag.filters import Filter
from rag.fusion import Voted, best_per_chunk, fuse, without_repeats
from rag.legs import (
    Eligible,
    Index,
    Part,
    Words,
    at_places,
    by_meaning,
    by_words,
    eligible,
    live_indexes,
    parts_of,
    read_passages,
    touch,
)
from rag.lexical import query_vector, query_weights, term_id, term_weights, tokens
from rag.lexicon import Statistics, read_statistics
from rag.rerank import Reranker
from rag.runs import parted, pieces
from rag.types import Fusion, LeftOut, Passage, Place, Retrieval

_T = TypeVar("_T")
_log = logging.getLogger(__name__)

_DENSE_WEIGHT = 0.5
_CANDIDATES_PER_RESULT = 4
_MIN_CANDIDATES = 20
# What comes behind says nothing new, and each word costs time.
_MAX_QUESTION_CHARS = 4000
_EMBED_TIMEOUT_S = 5.0
_RERANK_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """How a search ranks.

    Attributes:
        score_threshold: Passages that score less are left out.
        dense_weight: Share of the embedding, 0 to 1; None leaves it to us. It never gives a vote
            to a model that does not know the question's language.
        fusion: How the legs become one score.
        rerank: Whether the reranker is asked; None: where there is one.
        exact: Whether every row is scanned, whatever the time: what recall is measured against.
    """

    score_threshold: float = 0.0
    dense_weight: float | None = None
    fusion: Fusion = "average"
    rerank: bool | None = None
    exact: bool = False


_DEFAULTS = SearchOptions()


async def search(  # noqa: PLR0913 - each is a part of the question
    db_pool: asyncpg.Pool,
    embedders: Embedders | Embedder,
    scope: TenantScope,
    store_ids: Sequence[str],
    question: str | Sequence[str],
    *,
    k: int,
    filter: Filter | None = None,  # noqa: A002 - what it is called everywhere
    options: SearchOptions = _DEFAULTS,
    reranker: Reranker | None = None,
    also: Sequence[Place] = (),
) -> Retrieval:
    """Return the `k` best passages of the stores; of several questions, each passage's best.

    Each store is asked with the model that it was read with. Its embedding has no vote when the
    model does not know the question's language, is none of ours, or can't be reached. What stands
    at the places `also` is a candidate whatever the legs find, where the stores still hold it.

    Raises:
        NotFound: The caller has no such store.
        StoreExpired: One of them was not used for too long.
    """
    asked = [question] if isinstance(question, str) else list(question)
    limit = max(_MIN_CANDIDATES, _CANDIDATES_PER_RESULT * k)
    models = embedders if isinstance(embedders, Embedders) else Embedders(embedders)
    run = _Search(db_pool, models, scope, options, limit, also)
    with run.phase("total"):
        ranked, repeats = without_repeats(await run.rank(store_ids, asked, filter))
        behind: list[Passage] = []
        if reranker and options.rerank is not False:
            with run.phase("rerank"):
                behind = ranked[limit:]
                ranked = await _rerank(reranker, asked, ranked[:limit])
    best = [passage for passage in ranked if passage.score >= options.score_threshold]
    worse = [passage for passage in ranked if passage.score < options.score_threshold]
    return Retrieval(
        question="\n".join(asked),
        parted="\n".join(run.parted),
        passages=tuple(best[:k]),
        term_weights=run.weights,
        dense_weight=run.dense_weight,
        index_ids=tuple(index.id for index in run.indexes),
        timings=run.timings,
        ends=run.ends,
        left_out=(
            *(LeftOut(passage, "top_k") for passage in [*best[k:], *behind]),
            *(LeftOut(passage, "score_threshold") for passage in worse),
            *(LeftOut(passage, "repeat") for passage in repeats),
        ),
    )


async def _rerank(reranker: Reranker, asked: Sequence[str], ranked: list[Passage]) -> list[Passage]:
    """Order by what the reranker says; as they were, when it can't be asked."""
    try:
        async with asyncio.timeout(_RERANK_TIMEOUT_S):
            told = await reranker.rerank("\n".join(asked), [_read(p) for p in ranked])
    except (RerankerUnavailable, TimeoutError) as error:
        _log.warning("searched without the reranker: %s", type(error).__name__)
        return ranked
    scored = [
        replace(passage, score=score, reranked=score)
        for passage, score in zip(ranked, told, strict=True)
    ]
    return sorted(scored, key=lambda passage: -passage.score)


def _read(passage: Passage) -> str:
    return f"{passage.heading}\n{passage.content}" if passage.heading else passage.content


@dataclass(slots=True)
class _Search:
    """One search under way.

    Attributes:
        also: What is a candidate in any case.
        indexes: What is searched; known once it began.
        parted: The questions, with spaces between words where they have none.
        weights: The questions' tokens with their inverse document frequencies.
        dense_weight: The share that the embedding has had.
        timings: Seconds by phase.
        ends: When each ended.
    """

    pool: asyncpg.Pool
    embedders: Embedders
    scope: TenantScope
    options: SearchOptions
    limit: int
    also: Sequence[Place] = ()
    indexes: list[Index] = field(default_factory=list)
    parted: list[str] = field(default_factory=list)
    weights: dict[str, float] = field(default_factory=dict)
    dense_weight: float = 0.0
    timings: dict[str, float] = field(default_factory=dict)
    ends: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.ends[name] = ended = time.perf_counter()
        self.timings[name] = ended - started

    async def rank(
        self, store_ids: Sequence[str], asked: Sequence[str], wanted: Filter | None
    ) -> list[Passage]:
        """Return the candidates, best first.

        Two transactions: no connection waits for the embedding. Where another index has become a
        store's live one between them, or has moved to another partition, it begins again.
        """
        texts = [text[:_MAX_QUESTION_CHARS] for text in asked]
        while (ranked := await self._rank(store_ids, texts, wanted)) is None:
            pass
        return ranked

    async def _rank(
        self, store_ids: Sequence[str], texts: Sequence[str], wanted: Filter | None
    ) -> list[Passage] | None:
        async with AsyncExitStack() as stack:
            async with tenant_transaction(self.pool, self.scope.tenant, snapshot=True) as con:
                self.indexes = await live_indexes(con, self.scope, store_ids)
                meanwhile = await stack.enter_async_context(_beside(self._embed(texts)))
                with self.phase("words"):
                    left = await eligible(con, self.indexes, wanted) if wanted else None
                    questions = await self._read_words(con, texts)
                    parts = self._parts(left)
                    found = [[await by_words(con, p, words) for p in parts] for words in questions]
                    known = [await at_places(con, p, self.also) for p in parts]
            embeddings = await meanwhile
        with self.phase("vectors"):
            async with tenant_transaction(self.pool, self.scope.tenant, snapshot=True) as con:
                now = await live_indexes(con, self.scope, store_ids)
                if [(i.id, i.shard) for i in now] != [(i.id, i.shard) for i in self.indexes]:
                    return None
                scored: list[Passage] = []
                for place, words in enumerate(questions):
                    vectors = {space: each[place] for space, each in embeddings.items()}
                    chunks = [*map(add, found[place], known)]
                    voted = await self._candidates(con, parts, chunks, words, vectors)
                    scored += fuse(voted, self.options.fusion)
        return best_per_chunk(scored)

    def _parts(self, left: Mapping[int, Eligible] | None) -> list[Part]:
        return parts_of(self.indexes, left, self.limit, exact=self.options.exact)

    async def _embed(self, texts: Sequence[str]) -> dict[str, list[Vector | None]]:
        """Return each space's vectors of the texts; None where they have no vote."""
        with self.phase("embedding"):
            spaces = {index.space for index in self.indexes}
            embedded, _ = await asyncio.gather(
                asyncio.gather(*(_vectors(self.embedders.of(space), texts) for space in spaces)),
                self._touch(),
            )
        return dict(zip(spaces, embedded, strict=True))

    async def _touch(self) -> None:
        """Write down at most once a minute that a store was used, beside the search."""
        if stores := [index.store_id for index in self.indexes if index.touch]:
            with suppress(*UNREACHABLE):
                async with tenant_transaction(self.pool, self.scope.tenant) as con:
                    await touch(con, stores)

    async def _read_words(self, con: Connection, texts: Sequence[str]) -> list[Words]:
        """Weigh the questions' words."""
        read = [(text, tokens(text), pieces(text)) for text in texts]
        every = {term_id(word) for _, *both in read for words in both for word in words}
        statistics = await read_statistics(con, [i.id for i in self.indexes], list(every))
        self.parted, weighed = [], []
        for text, words, possible in read:
            split = _part(text, possible, statistics) if possible else text
            asked = words if split == text else tokens(split)
            self.parted.append(split)
            weighed.append(term_weights(dict.fromkeys(asked), statistics))
            await asyncio.sleep(0)  # the longest takes 3 ms, and there may be sixteen
        self.weights = {word: weight for words in weighed for word, weight in words.items()}
        return [_words(weights, statistics) for weights in weighed]

    async def _candidates(
        self,
        con: Connection,
        parts: Sequence[Part],
        found: Sequence[Sequence[int]],
        words: Words,
        vectors: Mapping[str, Vector | None],
    ) -> list[Voted]:
        """Return each vector space's candidates for one question."""
        spaces: dict[str, list[Passage]] = {}
        for part, by_word in zip(parts, found, strict=True):
            vector = vectors[part.space]
            near = await by_meaning(con, part, vector) if vector else []
            chunks = list(dict.fromkeys([*by_word, *near]))
            passages = await read_passages(con, part, chunks, words, vector)
            spaces.setdefault(part.space, []).extend(passages)
        return [self._voted(passages) for passages in spaces.values()]

    def _voted(self, passages: Sequence[Passage]) -> Voted:
        # No vector of the stores may be of this model: then it had no vote either.
        if all(passage.similarity is None for passage in passages):
            return Voted(passages, 0.0)
        given = self.options.dense_weight
        weight = _DENSE_WEIGHT if given is None else given
        self.dense_weight = max(self.dense_weight, weight)
        return Voted(passages, weight)


def _part(text: str, possible: Iterable[str], statistics: Statistics) -> str:
    known = [piece for piece in possible if term_id(piece) in statistics.frequencies]
    return parted(text, term_weights(known, statistics))


def _words(weights: Mapping[str, float], statistics: Statistics) -> Words:
    asked = query_weights(weights)
    counts = statistics.frequencies
    found = [(t, counts[t], weight) for t, weight in asked.items() if weight and t in counts]
    return Words(query_vector(weights), sorted(found, key=lambda term: -term[2]))


@asynccontextmanager
async def _beside(work: Coroutine[None, None, _T]) -> AsyncIterator[asyncio.Task[_T]]:
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        await end_task(task)


async def _vectors(embedder: Embedder | None, texts: Sequence[str]) -> list[Vector | None]:
    """Return the texts' vectors, None for one that may not vote."""
    if embedder is None:
        return [None] * len(texts)
    votes = [bool(text.strip()) and embedder.knows(text) for text in texts]
    try:
        async with asyncio.timeout(_EMBED_TIMEOUT_S):
            known = [text for text, vote in zip(texts, votes, strict=True) if vote]
            vectors = iter(await embedder.embed(known, "query") if known else [])
    except (EmbedderUnavailable, TimeoutError) as error:
        _log.warning("searched without embeddings: %s", type(error).__name__)
        return [None] * len(texts)
    return [next(vectors) if vote else None for vote in votes]
