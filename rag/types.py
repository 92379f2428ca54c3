"""The values that travel through retrieval: pages, chunks, passages."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import msgspec

Fusion = Literal["average", "rrf"]
"""How the legs become one score: their normalised average, or reciprocal ranks."""

Left = Literal["repeat", "score_threshold", "top_k"]
"""Why a candidate is no passage: it overlaps a better one, scores too little, or others are
better."""


@dataclass(frozen=True, slots=True)
class Page:
    """The text of one page.

    Attributes:
        number: 1-based as a reader counts, or None where the format has no pages.
        text: What all offsets into this page count in, in characters.
    """

    number: int | None
    text: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of one page: `content == page.text[start:end]`.

    Attributes:
        ordinal: 0-based place in the document.
        page: The page's number.
        start: Offset of its first character in the page's text.
        end: Offset behind its last.
        content: Verbatim.
        heading: The headings above it, outermost first, joined by ` > `; empty without.
        context: What a model wrote about where it stands; searched, never cited.
    """

    ordinal: int
    page: int | None
    start: int
    end: int
    content: str
    heading: str
    context: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """Characters of a file's page; `page` is None where the format has no pages."""

    document_id: str
    page: int | None
    start: int
    end: int


class Passage(msgspec.Struct, frozen=True):
    """A chunk that was found.

    Attributes:
        chunk_id: `<file id>#<ordinal>`; the same after the same document is read again.
        document_id: The file's id.
        store_id: The vector store it was found in.
        source: The file's name.
        page: 1-based, or None where the format has no pages.
        start: Offset of its first character in the page's text.
        end: Offset behind its last.
        content: Verbatim.
        heading: The headings above it, joined by ` > `; empty without.
        score: 0 to 1: both legs fused, or the reranker's; only comparable within one retrieval.
        lexical: BM25; 0 when no word of the question occurs.
        similarity: Cosine, or None when the embedding had no vote.
        attributes: The file's, in this store.
        lexical_rank: Place among the candidates by words, from 1; None when none occurs.
        dense_rank: Place by similarity among those of its vector space; None without one.
        reranked: What the reranker said, 0 to 1; None when it was not asked.
        fused: What both legs said, 0 to 1, before the reranker.
    """

    chunk_id: str
    document_id: str
    store_id: str
    source: str
    page: int | None
    start: int
    end: int
    content: str
    heading: str
    score: float
    lexical: float
    similarity: float | None
    attributes: Mapping[str, str | float | bool] = msgspec.field(default_factory=dict)
    lexical_rank: int | None = None
    dense_rank: int | None = None
    reranked: float | None = None
    fused: float = 0.0


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A candidate that is not among the passages, and why."""

    passage: Passage
    why: Left


@dataclass(frozen=True, slots=True)
class Retrieval:
    """What a question found, and what it was ranked by.

    Attributes:
        question: As it was asked; several are joined by line breaks.
        passages: Best first.
        term_weights: Each lexical token of the question with its inverse document frequency in
            the searched stores; a token none of them holds has the highest possible.
        dense_weight: Share of the embedding in the scores; 0 when it had no vote.
        index_ids: What was searched: the live index of each store.
        timings: Seconds by phase; the embedding and the lexical leg run side by side.
        ends: When each of them ended, as `time.perf_counter` tells.
        left_out: The other candidates.
        parted: The question with spaces between its words where it has none (`rag.runs`); empty
            where that was not looked at.
    """

    question: str
    passages: tuple[Passage, ...]
    term_weights: Mapping[str, float]
    dense_weight: float
    index_ids: tuple[int, ...] = ()
    timings: Mapping[str, float] = field(default_factory=dict, compare=False)
    ends: Mapping[str, float] = field(default_factory=dict, compare=False)
    left_out: tuple[LeftOut, ...] = field(default=(), compare=False)
    parted: str = ""

    @property
    def read(self) -> str:
        """Return the question as its words are read."""
        return self.parted or self.question
