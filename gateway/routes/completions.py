"""`POST /v1/completions`: text that goes on where the prompt ends."""

import msgspec

from gateway.bare import Call, bare_post
from gateway.generation.models import unknown_model
from gateway.openai.completions import CompletionRequest, TextCompletion
from gateway.routes.generation import answer, prompt_of

_decode = msgspec.json.Decoder(CompletionRequest).decode


@bare_post(
    "/v1/completions",
    "inference",
    takes=CompletionRequest,
    gives=TextCompletion,
    tags=["completions"],
    operation_id="create_completion",
)
async def create_completion(call: Call) -> None:
    """Answer an OpenAI text completion, streamed or not; agents answer chats only."""
    asked = _decode(call.body)
    target = call.services.models.find(call.caller, asked.model)
    if target is None:
        raise unknown_model(asked.model)
    prompt = await prompt_of(asked, call, target)
    await answer(target, prompt, call, stream=bool(asked.stream))


HANDLERS = [create_completion]
