"""Search in a vector store on the wire. OpenAI API reference, `/v1/vector_stores/{id}/search`."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from gateway.openai.knowledge import Attribute

Query = Annotated[str, Meta(min_length=1, max_length=8000)]
Comparator = Literal["eq", "ne", "gt", "gte", "lt", "lte", "in", "nin"]
Combinator = Literal["and", "or"]
Share = Annotated[float, Meta(ge=0, le=1000)]


class FilterNode(msgspec.Struct, forbid_unknown_fields=True):
    """A comparison of an attribute (`key`, `value`), or several filters (`filters`)."""

    type: Comparator | Combinator
    key: str | UnsetType = UNSET
    value: Attribute | Annotated[list[Attribute], Meta(max_length=1000)] | UnsetType = UNSET
    filters: Annotated[list["FilterNode"], Meta(max_length=100)] | UnsetType = UNSET


class HybridWeights(msgspec.Struct, forbid_unknown_fields=True):
    """How much the embedding and the words count, in proportion to each other."""

    embedding_weight: Share
    text_weight: Share

    def __post_init__(self) -> None:
        if not self.embedding_weight + self.text_weight:
            raise ValueError("one of embedding_weight and text_weight must be above 0")


class RankingOptions(msgspec.Struct, forbid_unknown_fields=True):
    """How results are ranked; `hybrid_search` is as in OpenAI's file search."""

    ranker: Literal["none", "auto", "default-2024-11-15"] | None = None
    score_threshold: Annotated[float, Meta(ge=0, le=1)] | None = None
    hybrid_search: HybridWeights | None = None


class SearchStore(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /v1/vector_stores/{id}/search`; `explain` is Naru's."""

    query: Query | Annotated[list[Query], Meta(min_length=1, max_length=16)]
    filters: FilterNode | None = None
    max_num_results: Annotated[int, Meta(ge=1, le=50)] | None = None
    ranking_options: RankingOptions | None = None
    rewrite_query: bool | None = None
    explain: bool | None = None


class TextContent(msgspec.Struct):
    """A found text."""

    text: str
    type: Literal["text"] = "text"


class ResultExplained(msgspec.Struct):
    """What each leg said of a result: its score, and its rank among the candidates."""

    lexical_score: float
    lexical_rank: int | None
    dense_score: float | None
    dense_rank: int | None
    reranker_score: float | None


class SearchResult(msgspec.Struct):
    """A found chunk; page, span, chunk, legs and `explain` are Naru's.

    `start` and `end` count characters of the page's text.
    """

    file_id: str
    filename: str
    score: float
    attributes: dict[str, Attribute]
    content: list[TextContent]
    page: int | None
    start: int
    end: int
    chunk_id: str
    lexical: float
    similarity: float | None
    explain: ResultExplained | UnsetType = UNSET


class SearchExplained(msgspec.Struct):
    """How a search ranked: the embedding's share of the score, each term's weight, and seconds.

    `answerable` is what an agent would judge by: False where these results do not hold the answer,
    for this `reason`. `signals` is what the confidence was made of.
    """

    index_ids: list[str]
    answerable: bool
    confidence: float
    reason: Literal["answerable", "nothing_found", "few_words", "far_in_meaning"]
    signals: dict[str, float]
    embedding_weight: float
    term_weights: dict[str, float]
    timings: dict[str, float]


class SearchResults(msgspec.Struct):
    """What a search answers: `search_query` is what was searched for."""

    search_query: list[str]
    data: list[SearchResult]
    has_more: bool = False
    next_page: None = None
    explain: SearchExplained | UnsetType = UNSET
    object: Literal["vector_store.search_results.page"] = "vector_store.search_results.page"
