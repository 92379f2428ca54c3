"""`/v1/vector_stores/{id}/search`. OpenAI API reference."""

from litestar import Router, post
from litestar.params import FromPath, JSONBody
from msgspec import UNSET

from gateway.guards import Caller, needs
from gateway.lifespan import Provided
from gateway.observe.searching import searched
from gateway.openai import store_search as wire
from gateway.search_options import filter_of, options_of
from rag import Passage, Retrieval, Verdict, assess, search
from rag.keywords import keywords

_DEFAULT_RESULTS = 10


@post("/", opt=needs("knowledge"), status_code=200, operation_id="search_vector_store")
async def search_store(
    store_id: FromPath[str], data: JSONBody[wire.SearchStore], caller: Caller, services: Provided
) -> wire.SearchResults:
    """Search a store."""
    asked = [data.query] if isinstance(data.query, str) else data.query
    if data.rewrite_query:
        asked = [keywords(question) for question in asked]
    searching = search(
        services.pool,
        services.embedders,
        caller,
        [store_id],
        asked,
        k=data.max_num_results or _DEFAULT_RESULTS,
        filter=filter_of(data.filters, "filters") if data.filters else None,
        options=options_of(data.ranking_options),
        reranker=services.reranker,
    )
    found = await searched(searching)
    explain = bool(data.explain)
    verdict = await assess(found, services.embedders.default) if explain else None
    return wire.SearchResults(
        asked,
        [_result(passage, explain=explain) for passage in found.passages],
        explain=_explained(found, verdict) if verdict else UNSET,
    )


ROUTER = Router(
    "/v1/vector_stores/{store_id:str}/search",
    route_handlers=[search_store],
    tags=["vector stores"],
)


def _result(passage: Passage, *, explain: bool) -> wire.SearchResult:
    return wire.SearchResult(
        file_id=passage.document_id,
        filename=passage.source,
        score=passage.score,
        attributes=dict(passage.attributes),
        content=[wire.TextContent(passage.content)],
        page=passage.page,
        start=passage.start,
        end=passage.end,
        chunk_id=passage.chunk_id,
        lexical=passage.lexical,
        similarity=passage.similarity,
        explain=_legs(passage) if explain else UNSET,
    )


def _legs(passage: Passage) -> wire.ResultExplained:
    return wire.ResultExplained(
        lexical_score=passage.lexical,
        lexical_rank=passage.lexical_rank,
        dense_score=passage.similarity,
        dense_rank=passage.dense_rank,
        reranker_score=passage.reranked,
    )


def _explained(found: Retrieval, verdict: Verdict) -> wire.SearchExplained:
    return wire.SearchExplained(
        index_ids=[str(id_) for id_ in found.index_ids],
        answerable=verdict.answerable,
        confidence=verdict.confidence,
        reason=verdict.code,
        signals=verdict.signals.known if verdict.signals else {},
        embedding_weight=found.dense_weight,
        term_weights=dict(found.term_weights),
        timings=dict(found.timings),
    )
