"""A retrieval made by hand, as `rag.search` would return it."""

import math
from collections.abc import Sequence

from rag.lexical import tokens
from rag.types import Passage, Retrieval


def retrieval_of(
    question: str, *contents: str, similarities: Sequence[float] = (), heading: str = ""
) -> Retrieval:
    """Passages best first, out of a store that holds nothing else."""
    held = [set(tokens(content)) for content in contents]
    weights = {}
    for token in dict.fromkeys(tokens(question)):
        df = sum(token in words for words in held)
        weights[token] = math.log(1 + (len(held) - df + 0.5) / (df + 0.5))
    passages = tuple(
        Passage(
            chunk_id=f"file-1#{n}",
            document_id="file-1",
            store_id="vs_1",
            source="policy.md",
            page=None,
            start=0,
            end=len(content),
            content=content,
            heading=heading,
            score=1 / (n + 1),
            lexical=1.0,
            similarity=similarities[n] if similarities else None,
        )
        for n, content in enumerate(contents)
    )
    return Retrieval(question, passages, weights, 0.5 if similarities else 0.0)
