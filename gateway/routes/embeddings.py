"""`POST /v1/embeddings`: the service's own embedding model, a provider's, or an engine's."""

from typing import Any

from litestar import Request, Response, post
from litestar.params import JSONBody

from gateway.generation.guarded import check_words
from gateway.generation.models import unknown_model
from gateway.govern.charge import Asked, Charge
from gateway.guards import Caller, needs
from gateway.lifespan import Provided
from gateway.openai.embeddings import EmbeddingList, EmbeddingRequest
from gateway.presence import while_connected
from gateway.routes.generation import prompt_of, whole


@post(
    "/v1/embeddings",
    opt=needs("inference"),
    status_code=200,
    tags=["embeddings"],
    operation_id="create_embedding",
)
async def create_embedding(
    data: JSONBody[EmbeddingRequest],
    request: Request[Any, Any, Any],
    caller: Caller,
    services: Provided,
) -> Response[EmbeddingList]:
    """Return one vector per input."""
    if services.embeddings.serves(caller, data.model):
        asked = Asked("embeddings", data.model, prompt_bytes=len(await request.body()))
        charge = Charge(caller, asked)
        async with services.governor.governing(charge):
            words = {"input": data.input}
            await check_words(services.models.judging, charge, words, data.model)
            attempt = charge.attempt(data.model, "here")
            completion = await services.embeddings.embed(data)
            attempt.usage = completion.usage
        return whole(completion)
    target = services.models.find(caller, data.model)
    if target is None:
        raise unknown_model(data.model)
    services.embeddings.check_alias(data.model)
    prompt = await prompt_of(data, request, target, caller, services)
    return whole(await while_connected(request, target.complete(prompt)))


HANDLERS = [create_embedding]
