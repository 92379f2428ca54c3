"""How near sentences are to a question in meaning."""

import asyncio
from collections.abc import Sequence
from operator import mul

from rag.embed import Embedder
from rag.embedding_wire import Vector
from rag.errors import EmbedderUnavailable
from rag.evidence import Evidence

_COVERAGE_SHARE = 0.25


async def cosines(
    question: str, sentences: Sequence[Evidence], embedder: Embedder, *, timeout_s: float
) -> list[float] | None:
    """Return each sentence's cosine with the question; None without an answer in time."""
    try:
        async with asyncio.timeout(timeout_s):
            (asked,) = await embedder.embed([question], "query")
            vectors = await embedder.embed([*map(_in_context, sentences)], "sentence")
    except (EmbedderUnavailable, TimeoutError):
        return None
    return [dot(asked, vector) for vector in vectors]


def dot(one: Vector, other: Vector) -> float:
    """Return the inner product, the cosine of vectors of length 1."""
    product: float = sum(map(mul, one, other))
    return product


def nearness(item: Evidence, cosine: float) -> float:
    """Return a sentence's cosine with a little of what its words say."""
    return _COVERAGE_SHARE * item.coverage + cosine


def _in_context(item: Evidence) -> str:
    return f"{item.sentence.heading}: {item.text}" if item.sentence.heading else item.text
