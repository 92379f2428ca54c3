"""Stores of any size, written by COPY: generated words, clustered vectors."""

import json
import random
from array import array
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass

import asyncpg
import numpy as np
from support import scope_of

import rag
from config.postgres import open_pool
from config.settings import RetrievalSettings
from rag.embedding_wire import Vector
from rag.jobs import Job
from rag.lexical import term_id
from rag.shards import Shards
from rag.testing import InMemoryEmbedder

PER_DOCUMENT = 5
NUMBERS = 16
_VOCABULARY = 4000
_WORDS = 14
_CLUSTERS = 40
_TERMS = [term_id(f"w{n}") for n in range(_VOCABULARY)]


class Pointer(InMemoryEmbedder):
    """Embeds `@7 ...` as the direction 7: near some cluster, or anywhere for odd ones."""

    def __init__(self) -> None:
        super().__init__(dimensions=NUMBERS)

    def _vector(self, text: str) -> Vector:
        at = int(text.split(maxsplit=1)[0].removeprefix("@"))
        rng = np.random.default_rng(at)
        vector = rng.standard_normal(NUMBERS)
        if at % 2 == 0:
            vector = _centres()[at % _CLUSTERS] + 0.3 * vector
        return array("f", (vector / np.linalg.norm(vector)).tolist())


@dataclass(frozen=True)
class LargeStore:
    """A store whose file number n has the attributes `tenth`, `hundredth`, `thousandth` (n modulo
    that), and `cluster`, that of its vectors."""

    id: str
    index: int
    chunks: int


def _centres() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((_CLUSTERS, NUMBERS))


def questions(amount: int, *, seed: int = 1) -> list[str]:
    """Questions with words of any frequency, each with a direction."""
    rng = random.Random(seed)
    words = [
        " ".join(f"w{min(int(rng.paretovariate(0.5)), _VOCABULARY - 1)}" for _ in range(6))
        for _ in range(amount)
    ]
    return [f"@{at} {text}" for at, text in enumerate(words)]


async def make_store(
    pool: asyncpg.Pool, owner: asyncpg.Connection, chunks: int, *, tenant: str = "acme"
) -> LargeStore:
    """A store of that many chunks, in the shared partition."""
    store = (await rag.create_store(pool, scope_of(tenant), name="large")).id
    async with owner.transaction():
        await owner.execute("SELECT set_config('naru.tenant', $1, true)", tenant)
        index = await owner.fetchval(
            "UPDATE indexes SET space = $2 WHERE store_id = $1 RETURNING id",
            store,
            Pointer().space,
        )
        await add_chunks(owner, store, index, chunks)
    return LargeStore(store, index, chunks)


async def add_chunks(owner: asyncpg.Connection, store: str, index: int, chunks: int) -> None:
    """Add documents to a store, in this transaction and its tenant."""
    rng = np.random.default_rng(chunks)
    shard = await owner.fetchval("SELECT shard FROM indexes WHERE id = $1", index)
    first = await owner.fetchval("SELECT coalesce(max(id), 0) + 1 FROM chunks")
    amount = chunks // PER_DOCUMENT
    cluster = rng.integers(_CLUSTERS, size=amount)
    documents = await owner.fetch(
        """
        WITH file AS (
            INSERT INTO files (id, tenant, filename, purpose, bytes)
            SELECT 'f' || $4 || '_' || n, current_setting('naru.tenant'), n || '.md', '', 1
            FROM generate_series(1, cardinality($3::integer[])) AS n
        ), held AS (
            INSERT INTO store_files (store_id, file_id, status, attributes)
            SELECT $1, 'f' || $4 || '_' || n, 'completed', jsonb_build_object(
                'tenth', n % 10, 'hundredth', n % 100, 'thousandth', n % 1000, 'cluster', cluster)
            FROM unnest($3::integer[]) WITH ORDINALITY AS c (cluster, n)
        )
        INSERT INTO documents (index_id, store_id, file_id, chunk_count, usage_bytes)
        SELECT $2, $1, 'f' || $4 || '_' || n, $5, 1
        FROM generate_series(1, cardinality($3::integer[])) AS n
        RETURNING id
        """,
        *(store, index, cluster.tolist(), str(first), PER_DOCUMENT),
    )
    ids = [row["id"] for row in documents]
    words = np.minimum(rng.pareto(0.5, (chunks, _WORDS)).astype(int), _VOCABULARY - 1)
    near = np.repeat(_centres()[cluster], PER_DOCUMENT, axis=0)
    vectors = near + 0.8 * rng.standard_normal((chunks, NUMBERS))
    places = [(first + n, ids[n // PER_DOCUMENT], n % PER_DOCUMENT) for n in range(chunks)]
    await _copy(
        owner,
        "chunks (id, document, ordinal, start_char, end_char, heading, content)",
        ([str(c), str(d), str(o), str(o * 10), str(o * 10 + 9), "", f"c{c}"] for c, d, o in places),
    )
    held = [sorted(set(row)) for row in words.tolist()]
    impacts = rng.uniform(0.6, 1.6, (chunks, _WORDS)).tolist()
    await _copy(
        owner,
        "chunk_terms (shard, index_id, document, chunk_id, terms)",
        (
            [*map(str, (shard, index, d, c)), _sparse(row, impact)]
            for (c, d, _), row, impact in zip(places, held, impacts, strict=True)
        ),
    )
    await _copy(
        owner,
        "chunk_embeddings (shard, index_id, document, chunk_id, embedding)",
        (
            [*map(str, (shard, index, d, c)), json.dumps([round(x, 3) for x in vector])]
            for (c, d, _), vector in zip(places, vectors.tolist(), strict=True)
        ),
    )
    counts = np.bincount([word for row in held for word in row], minlength=_VOCABULARY)
    await owner.execute(
        "INSERT INTO lexicon AS l (index_id, term, df)"
        " SELECT $1, * FROM unnest($2::integer[], $3::integer[])"
        " ON CONFLICT (index_id, term) DO UPDATE SET df = l.df + excluded.df",
        *(index, _TERMS, counts.tolist()),
    )


def _sparse(words: Sequence[int], impacts: Sequence[float]) -> str:
    pairs = zip(words, impacts, strict=False)
    return "{" + ",".join(f"{_TERMS[n]}:{impact:.5g}" for n, impact in pairs) + "}/1000000000"


async def _copy(owner: asyncpg.Connection, into: str, rows: Iterable[Sequence[str]]) -> None:
    table, columns = into.split(" ", 1)
    text = "".join("\t".join(row) + "\n" for row in rows).encode()

    async def parts() -> AsyncIterator[bytes]:
        yield text

    await owner.copy_to_table(table, source=parts(), columns=columns.strip("()").split(", "))


async def grow(
    pool: asyncpg.Pool, store: LargeStore, *, large: int = 1, tenant: str = "acme"
) -> None:
    """Do the job that follows when a store has grown."""
    url = pool._connect_args[0]
    async with await open_pool(url, size=2, role="naru_jobs") as jobs:
        shards = Shards(jobs, RetrievalSettings(large_index_chunks=large))
        await shards.grow(Job(tenant, {"index": store.index}))
