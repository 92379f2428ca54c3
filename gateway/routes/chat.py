"""`POST /v1/chat/completions`: an alias, `provider/model`, or an agent as a model."""

from typing import Any

import msgspec
from litestar import Request, Response, post
from litestar.params import JSONBody

from gateway.agents.registry import find_agent
from gateway.errors import NotFound
from gateway.generation.models import unknown_model
from gateway.guards import Caller, needs
from gateway.lifespan import Provided
from gateway.openai.chat import AgentChatRequest, ChatCompletion
from gateway.openai.chat_request import ChatRequest
from gateway.routes.agent_completions import complete_as_agent
from gateway.routes.generation import answer, prompt_of

_decode_agent_request = msgspec.json.Decoder(AgentChatRequest).decode


@post(
    "/v1/chat/completions",
    opt=needs("inference"),
    status_code=200,
    tags=["chat"],
    operation_id="create_chat_completion",
)
async def create_chat_completion(
    data: JSONBody[ChatRequest], request: Request[Any, Any, Any], caller: Caller, services: Provided
) -> Response[ChatCompletion]:
    """Answer an OpenAI chat completion, streamed or not."""
    target = services.models.find(caller, data.model)
    if target is None:
        return await _ask_agent(request, data, caller, services)
    prompt = await prompt_of(data, request, target, caller, services)
    return await answer(target, prompt, request, stream=bool(data.stream))


class _Session(msgspec.Struct):
    """Which conversation an agent is asked in."""

    session_id: str | None = None


async def _ask_agent(
    request: Request[Any, Any, Any], data: ChatRequest, caller: Caller, services: Provided
) -> Response[ChatCompletion]:
    body = await request.body()
    affinity = msgspec.json.decode(body, type=_Session).session_id or data.user
    try:
        agent = await find_agent(services.pool, caller, data.model, affinity=affinity)
    except NotFound:
        raise unknown_model(data.model) from None
    asked = _decode_agent_request(body)
    return await complete_as_agent(agent, asked, request, caller, services, asked.session_id)


HANDLERS = [create_chat_completion]
