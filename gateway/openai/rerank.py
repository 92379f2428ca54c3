"""Reranking: what comes in and what goes out. Cohere API v2, `/v2/rerank`; Jina's is like it."""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

_MAX_DOCUMENTS = 1_000
_MAX_CHARS = 4_000_000
_Text = Annotated[str, Meta(min_length=1, max_length=100_000)]


class RerankRequest(msgspec.Struct, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """A question and up to 1,000 documents, 4,000,000 characters together."""

    model: str
    query: Annotated[str, Meta(min_length=1, max_length=8_000)]
    documents: Annotated[list[_Text], Meta(min_length=1)]
    top_n: Annotated[int, Meta(ge=1)] | None = None
    max_tokens_per_doc: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    return_documents: bool = False
    """Jina's: whether the results carry their documents."""
    priority: int = 0
    """Cohere's; every request has the same here."""

    def __post_init__(self) -> None:
        if len(self.documents) > _MAX_DOCUMENTS:
            raise ValueError(f"documents: at most {_MAX_DOCUMENTS:,} in one request")
        if sum(map(len, self.documents)) > _MAX_CHARS:
            raise ValueError(f"documents: at most {_MAX_CHARS:,} characters together")


class RerankDocument(msgspec.Struct):
    """A document as it came."""

    text: str


class RerankResult(msgspec.Struct):
    """One document's place among those given, and its score from 0 to 1."""

    index: int
    relevance_score: float
    document: RerankDocument | UnsetType = UNSET


class ApiVersion(msgspec.Struct):
    """Which of Cohere's interfaces this is."""

    version: str = "2"


class RerankMeta(msgspec.Struct):
    """What Cohere's clients read beside the results."""

    api_version: ApiVersion = msgspec.field(default_factory=ApiVersion)


class RerankList(msgspec.Struct):
    """The best documents, the best first."""

    id: str
    results: list[RerankResult]
    meta: RerankMeta = msgspec.field(default_factory=RerankMeta)
