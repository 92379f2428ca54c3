"""`POST /v1/embeddings`: the service's own embedding model, a provider's, or an engine's."""

import msgspec

from gateway.bare import Call, bare_post
from gateway.errors import InvalidRequest
from gateway.generation.guarded import check_words
from gateway.generation.models import unknown_model
from gateway.govern.charge import Asked, Charge
from gateway.openai.embeddings import EmbeddingList, EmbeddingRequest
from gateway.routes.generation import answer_whole, prompt_of, served_by

_decode = msgspec.json.Decoder(EmbeddingRequest).decode
_NOT_TAKEN = "this embedding model does not take this field"
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


@bare_post(
    "/v1/embeddings",
    "inference",
    takes=EmbeddingRequest,
    gives=EmbeddingList,
    tags=["embeddings"],
    operation_id="create_embedding",
)
async def create_embedding(call: Call) -> None:
    """Return one vector per input."""
    asked = _decode(call.body)
    if call.services.embeddings.serves(call.caller, asked.model):
        await _embed(asked, call)
        return
    target = call.services.models.find(call.caller, asked.model)
    if target is None:
        raise unknown_model(asked.model)
    call.services.embeddings.check_alias(asked.model)
    await answer_whole(target, await prompt_of(asked, call, target), call)


async def _embed(asked: EmbeddingRequest, call: Call) -> None:
    """Answer with the service's own model."""
    _check_fields(call.body)
    services = call.services
    charge = Charge(call.caller, Asked("embeddings", asked.model, prompt_bytes=len(call.body)))
    async with services.governor.governing(charge):
        words = {"input": asked.input}
        await check_words(services.models.judging, charge, words, asked.model)
        attempt = charge.attempt(asked.model, "here", services.embeddings.rate)
        completion = await services.embeddings.embed(asked)
        attempt.usage = completion.usage
    await call.answer_json(completion.body, served_by(completion))


def _check_fields(body: bytes) -> None:
    """Refuse what is not OpenAI's; a null is absent."""
    for name, value in _decode_fields(body).items():
        if name not in EmbeddingRequest.__struct_fields__ and bytes(value) != b"null":
            told = f"{name[:128]}: {_NOT_TAKEN}"
            raise InvalidRequest(told, param=name[:128], code="unsupported_field")


HANDLERS = [create_embedding]
