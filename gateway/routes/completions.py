"""`POST /v1/completions`: text that goes on where the prompt ends."""

from typing import Any

from litestar import Request, Response, post
from litestar.params import JSONBody

from gateway.generation.models import unknown_model
from gateway.guards import Caller, needs
from gateway.lifespan import Provided
from gateway.openai.completions import CompletionRequest, TextCompletion
from gateway.routes.generation import answer, prompt_of


@post(
    "/v1/completions",
    opt=needs("inference"),
    status_code=200,
    tags=["completions"],
    operation_id="create_completion",
)
async def create_completion(
    data: JSONBody[CompletionRequest],
    request: Request[Any, Any, Any],
    caller: Caller,
    services: Provided,
) -> Response[TextCompletion]:
    """Answer an OpenAI text completion, streamed or not; agents answer chats only."""
    target = services.models.find(caller, data.model)
    if target is None:
        raise unknown_model(data.model)
    prompt = await prompt_of(data, request, target, caller, services)
    return await answer(target, prompt, request, stream=bool(data.stream))


HANDLERS = [create_completion]
