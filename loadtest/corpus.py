"""A large store for `loadtest/search.py`: real passages perturbed, written by COPY.

Each passage is embedded once; its copies have words left out or swapped, and its vector with noise.
"""

import json
import random
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import asyncpg
import numpy as np

import rag
from config.postgres import open_pool
from config.scope import TenantScope
from config.settings import RetrievalSettings
from rag.jobs import Job
from rag.lexical import document_vector
from rag.shards import Shards

ROOT = Path(__file__).parents[1]
ACME = TenantScope("acme", client="bench", scopes=frozenset())
_PER_DOCUMENT = 10
_AT_ONCE = 10_000
# Ids of documents and chunks: what a service has read before has smaller ones.
_FIRST = 1_000_000
_EMBEDDED_AT_ONCE = 32
_DISTINCT = 10_000
_SENTENCE = re.compile(r"(?<=[.?!])\s+")
_WORD = re.compile(r"\S+\n?")  # a copy keeps the lines: rows of a table are no one sentence
_ASKED_WORDS = 8
_LEFT_OUT, _SWAPPED = 0.1, 0.25
_NOISE = 0.6


@dataclass(frozen=True, slots=True)
class Passages:
    """What the store is made of, and what is asked.

    Attributes:
        texts: Embedded once each.
        windows: Shorter or longer ones around them: a text's place, and the words.
        questions: Each with an answer in the texts.
    """

    texts: Sequence[str]
    windows: Sequence[tuple[int, Sequence[str]]]
    questions: Sequence[str]


def read_passages(korquad: Path | None) -> Passages:
    """Return the paragraphs of a file in SQuAD's format, else those of our own documentation."""
    if korquad:
        found = json.loads(korquad.read_text(encoding="utf-8"))["data"]
        paragraphs = [paragraph for article in found for paragraph in article["paragraphs"]]
        texts = [paragraph["context"] for paragraph in paragraphs]
        questions = [answer["question"] for paragraph in paragraphs for answer in paragraph["qas"]]
    else:
        files = sorted([*(ROOT / "docs").rglob("*.md"), *(ROOT / "demo").rglob("*.md")])
        parts = [part for file in files for part in file.read_text("utf-8").split("\n\n")]
        texts = [part for part in parts if len(part) > 120]
        questions = list(_questions(texts))
    return Passages(texts, list(_windows(texts)), questions)


def _questions(texts: Sequence[str]) -> Iterable[str]:
    """Ask each text twenty times, each time with words of one of its sentences."""
    rng = random.Random(2)
    for said in [*map(_said, texts)] * 20:
        words = rng.choice(said)
        chosen = sorted(rng.sample(range(len(words)), min(_ASKED_WORDS, len(words))))
        yield " ".join(words[place] for place in chosen)


def _said(text: str) -> list[list[str]]:
    """Return the words of its sentences that are long enough, or of all of it."""
    said = [sentence.split() for sentence in _SENTENCE.split(text)]
    return [words for words in said if len(words) >= _ASKED_WORDS] or [text.split()]


def _windows(texts: Sequence[str]) -> Iterable[tuple[int, Sequence[str]]]:
    made: list[tuple[int, Sequence[str]]] = []
    for place, text in enumerate(texts):
        own = _SENTENCE.split(text)
        following = _SENTENCE.split(texts[(place + 1) % len(texts)])
        words = [_WORD.findall(sentence) for sentence in (*own, *following)]
        around = (list(chain.from_iterable(words[n : n + len(own)])) for n in range(len(own)))
        made += ((place, window) for window in around)
    random.Random(1).shuffle(made)
    return made[:_DISTINCT]


def _perturbed(task: tuple[int, Sequence[str], Sequence[str]]) -> tuple[str, str]:
    """Return a copy of a window, and its words' vector."""
    seed, window, others = task
    rng = random.Random(seed)
    words = []
    for word in window:
        chance = rng.random()
        if chance >= _LEFT_OUT:
            words.append(rng.choice(others) if chance < _SWAPPED else word)
    text = " ".join(words)
    return text, document_vector(text)


async def build(
    url: str, passages: Passages, embedder: rag.Embedder, chunks: int
) -> dict[str, float]:
    """Make the store `bench` and move it to its partitions; return what that took and takes."""
    figures: dict[str, float] = {}
    started = time.perf_counter()
    centres = await _embed(embedder, passages.texts)
    figures["embedding s"], started = _lap(started)
    others = [word.rstrip() for _, words in passages.windows[:2000] for word in words]
    chosen = [passages.windows[n % len(passages.windows)] for n in range(chunks)]
    random.Random(3).shuffle(chosen)
    tasks = ((n, words, others[n % 1000 :: 1000]) for n, (_, words) in enumerate(chosen))
    with ProcessPoolExecutor(2) as pool:
        texts = list(pool.map(_perturbed, tasks, chunksize=500))
    figures["words s"], started = _lap(started)
    index = await _write(url, texts, _noisy(centres, [place for place, _ in chosen]), embedder)
    figures["writing s"], started = _lap(started)
    async with await open_pool(url, size=2, role="naru_jobs") as jobs:
        await Shards(jobs, RetrievalSettings(large_index_chunks=1)).grow(
            Job("acme", {"index": index})
        )
    figures["moving to partitions s"], _ = _lap(started)
    return figures | await _sizes(url, chunks)


def _lap(started: float) -> tuple[float, float]:
    now = time.perf_counter()
    return now - started, now


async def _embed(embedder: rag.Embedder, texts: Sequence[str]) -> np.ndarray:
    found: list[Sequence[float]] = []
    for start in range(0, len(texts), _EMBEDDED_AT_ONCE):
        found += await embedder.embed(texts[start : start + _EMBEDDED_AT_ONCE])
    return np.array(found, dtype=np.float32)


def _noisy(centres: np.ndarray, places: Sequence[int]) -> np.ndarray:
    rng = np.random.default_rng(4)
    vectors = centres[list(places)]
    scale = _NOISE / vectors.shape[1] ** 0.5
    vectors += scale * rng.standard_normal(vectors.shape, dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


async def _write(
    url: str, texts: Sequence[tuple[str, str]], vectors: np.ndarray, embedder: rag.Embedder
) -> int:
    con = await asyncpg.connect(url)
    try:
        await con.execute("SELECT set_config('naru.tenant', 'acme', false)")
        index: int = await con.fetchval(_STORE, embedder.space)
        await con.execute(_DOCUMENTS, len(texts) // _PER_DOCUMENT, index, _PER_DOCUMENT, _FIRST)
        for start in range(0, len(texts), _AT_ONCE):
            await _write_part(con, index, start, texts, vectors)
        await con.execute(_LEXICON, index, timeout=3600)
        await con.execute("ANALYZE")
    finally:
        await con.close()
    return index


async def _write_part(
    con: asyncpg.Connection,
    index: int,
    start: int,
    texts: Sequence[tuple[str, str]],
    vectors: np.ndarray,
) -> None:
    numbers = range(start, min(start + _AT_ONCE, len(texts)))
    leg = [f"{index}\t{_FIRST + n // _PER_DOCUMENT}\t{_FIRST + n}" for n in numbers]
    chunks = [
        f"{_FIRST + n}\t{_FIRST + n // _PER_DOCUMENT}\t{n % _PER_DOCUMENT}"
        f"\t{n * 1000}\t{n * 1000 + 999}\t\t" + texts[n][0].replace("\\", "").replace("\n", "\\n")
        for n in numbers
    ]
    terms = [f"{place}\t{texts[n][1]}" for n, place in zip(numbers, leg, strict=True)]
    rows = vectors[start : start + _AT_ONCE]
    embedded = [
        f"{place}\t[{','.join(f'{x:.4g}' for x in row)}]"
        for place, row in zip(leg, rows, strict=True)
    ]
    await _copy(con, "chunks", _CHUNK_COLUMNS, chunks)
    await _copy(con, "chunk_terms", [*_LEG_COLUMNS, "terms"], terms)
    await _copy(con, "chunk_embeddings", [*_LEG_COLUMNS, "embedding"], embedded)


async def _copy(
    con: asyncpg.Connection, table: str, columns: Sequence[str], rows: Sequence[str]
) -> None:
    async def source() -> AsyncIterator[bytes]:
        yield ("\n".join(rows) + "\n").encode()

    await con.copy_to_table(table, source=source(), columns=columns, timeout=3600)


async def _sizes(url: str, chunks: int) -> dict[str, float]:
    con = await asyncpg.connect(url)
    rows = await con.fetch(_SIZES)
    await con.close()
    sizes: Counter[str] = Counter()
    for row in rows:
        sizes[row["what"]] += row["bytes"] / chunks
    return {f"bytes per chunk: {what}": size for what, size in sizes.items()} | {
        "bytes per chunk": sum(sizes.values())
    }


_LEG_COLUMNS = ["index_id", "document", "chunk_id"]
_CHUNK_COLUMNS = ["id", "document", "ordinal", "start_char", "end_char", "heading", "content"]

_STORE = """
WITH store AS (INSERT INTO vector_stores (id, tenant, name) VALUES ('bench', 'acme', 'bench'))
INSERT INTO indexes (store_id, live, space) VALUES ('bench', true, $1) RETURNING id
"""
_DOCUMENTS = """
WITH file AS (
    INSERT INTO files (id, tenant, filename, purpose, bytes)
    SELECT 'f' || n, 'acme', n || '.md', '', 1 FROM generate_series(1, $1::integer) AS n
), held AS (
    INSERT INTO store_files (store_id, file_id, status)
    SELECT 'bench', 'f' || n, 'completed' FROM generate_series(1, $1::integer) AS n
)
INSERT INTO documents (id, index_id, store_id, file_id, chunk_count, usage_bytes)
OVERRIDING SYSTEM VALUE
SELECT $4 - 1 + n, $2, 'bench', 'f' || n, $3, 1 FROM generate_series(1, $1::integer) AS n
"""
_LEXICON = """
INSERT INTO lexicon (index_id, term, df)
SELECT $1, term, count(*) FROM chunk_terms t, term_ids(t.terms) AS term GROUP BY term
"""
_SIZES = """
SELECT CASE WHEN relname ~ '^chunks' THEN 'texts' WHEN relname ~ '_graph$' THEN 'graph'
            WHEN relname ~ '^chunk_postings' THEN 'postings'
            WHEN relname ~ '^chunk_terms' THEN 'words' WHEN relname ~ '^chunk_emb' THEN 'vectors'
            ELSE 'the rest' END AS what,
       CASE WHEN relname ~ '_graph$' THEN pg_relation_size(oid)
            ELSE pg_table_size(oid) END AS bytes
FROM pg_class
WHERE relkind IN ('r', 'i') AND relnamespace = 'public'::regnamespace AND relname !~ '_0$|_0_'
"""
