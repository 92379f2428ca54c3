"""`POST /v1/rerank`: the configured cross-encoder, in Cohere's shape."""

import uuid
from collections.abc import Sequence
from typing import Any

from litestar import Request, post
from litestar.params import JSONBody
from msgspec import UNSET

from gateway.errors import InvalidRequest
from gateway.generation.guarded import check_words
from gateway.generation.models import unknown_model
from gateway.govern.charge import Asked, Charge
from gateway.govern.prices import FREE
from gateway.guards import Caller, needs
from gateway.lifespan import Provided
from gateway.openai.rerank import RerankDocument, RerankList, RerankRequest, RerankResult
from gateway.openai.tokens import estimate_tokens
from gateway.openai.usage import TokenUsage
from gateway.presence import while_connected
from rag.rerank import WorkerReranker


@post(
    "/v1/rerank",
    opt=needs("inference"),
    status_code=200,
    tags=["rerank"],
    operation_id="create_rerank",
)
async def create_rerank(
    data: JSONBody[RerankRequest],
    request: Request[Any, Any, Any],
    caller: Caller,
    services: Provided,
) -> RerankList:
    """Return the documents' places, the one that answers the question best first."""
    reranker = services.reranker
    if reranker is None:
        raise InvalidRequest(
            "no reranker is configured here: set `reranker.model`, with `reranker.url` where it "
            "runs elsewhere",
            param="model",
            code="reranker_not_configured",
        )
    if data.model != reranker.model or not caller.may_use_model(data.model):
        raise unknown_model(data.model)
    charge = Charge(caller, Asked("rerank", data.model, prompt_bytes=len(await request.body())))
    async with services.governor.governing(charge):
        words = {"query": data.query, "documents": data.documents}
        await check_words(services.models.judging, charge, words, data.model)
        # What one behind a URL costs, nobody knows.
        rate = FREE if isinstance(reranker, WorkerReranker) else None
        attempt = charge.attempt(data.model, "here", rate)
        scoring = reranker.rerank(data.query, data.documents, max_tokens=data.max_tokens_per_doc)
        scores = await while_connected(request, scoring)
        attempt.usage = _usage(data)
    return RerankList(str(uuid.uuid4()), _best(data, scores))


def _usage(data: RerankRequest) -> TokenUsage:
    """Return what it took, about: rerankers don't tell."""
    tokens = sum(map(estimate_tokens, data.documents)) + estimate_tokens(data.query)
    return TokenUsage(prompt_tokens=tokens, estimated=True, complete=True)


def _best(asked: RerankRequest, scores: Sequence[float]) -> list[RerankResult]:
    """Return the `top_n` best, equal ones in the order they were given."""
    order = sorted(range(len(scores)), key=lambda index: -scores[index])[: asked.top_n]
    return [
        RerankResult(
            index,
            scores[index],
            RerankDocument(asked.documents[index]) if asked.return_documents else UNSET,
        )
        for index in order
    ]


HANDLERS = [create_rerank]
