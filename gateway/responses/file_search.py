"""The tool `file_search`: passages of our own vector stores, looked up before the model answers."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace

import asyncpg
from msgspec import UNSET

from auth import require
from config.scope import TenantScope
from gateway.agents.citations import Citations
from gateway.agents.prompt import not_found
from gateway.agents.rewrite import rewrite
from gateway.errors import InvalidRequest, naming
from gateway.observe.searching import searched
from gateway.openai.chat_request import JsonObject
from gateway.openai.response_items import FileSearchCall, Item, Message
from gateway.openai.responses_request import FileSearchTool
from gateway.openai.said import CallPart, Cited, Ended, Said, Searched, Text
from gateway.search_options import filter_of, options_of
from rag import Embedders, Passage, Reranker, Retrieval, search

_RESULTS = 10


async def look_up(
    pool: asyncpg.Pool,
    embedders: Embedders,
    scope: TenantScope,
    tool: FileSearchTool,
    items: Sequence[Item],
    *,
    reranker: Reranker | None,
) -> Retrieval:
    """Search for the user's last message; one that leans on those before is completed.

    Raises:
        InvalidRequest: There is no message of the user, or the filter does not go together.
        NotFound: The caller has no such vector store.
        FilterRefused: The filter is out of its bounds.
        InsufficientScope: The caller may not search.
    """
    require(scope, "knowledge")
    said = [item.text for item in items if isinstance(item, Message) and item.role == "user"]
    if not said or not said[-1].strip():
        raise InvalidRequest("input: file_search needs a question of the user", param="input")
    searching = search(
        pool,
        embedders,
        scope,
        tool.vector_store_ids,
        rewrite(said[-1], said[:-1]),
        k=tool.max_num_results or _RESULTS,
        filter=filter_of(tool.filters, "tools.filters") if tool.filters else None,
        options=options_of(tool.ranking_options),
        reranker=reranker,
    )
    with naming("vector store", "tools.vector_store_ids"):
        return await searched(searching)


def _result(passage: Passage) -> JsonObject:
    return {
        "file_id": passage.document_id,
        "filename": passage.source,
        "score": round(passage.score, 4),
        "text": passage.content,
        "attributes": dict(passage.attributes),
    }


async def cited(
    said: AsyncGenerator[Said, None], found: Retrieval, *, with_results: bool
) -> AsyncGenerator[Said, None]:
    """Yield the search, then what a model says with its `[n]` checked, and what they cite."""
    passages = found.passages
    results = [_result(passage) for passage in passages] if with_results else UNSET
    yield Searched(FileSearchCall(queries=[found.question], results=results))
    citations, silent = Citations(passages, keep_unknown=True), True
    try:
        async for part in said:
            if isinstance(part, Text):
                told = replace(part, text=await citations.feed(part.text))
                silent = silent and not told.text.strip()
                yield told
                continue
            if isinstance(part, CallPart | Ended):
                rest = await citations.finish()
                if silent and isinstance(part, Ended) and not rest:
                    rest = not_found(found.question)
                silent = False
                if rest:
                    yield Text(rest)
                yield Cited(citations.references)
            yield part
    finally:
        await said.aclose()
