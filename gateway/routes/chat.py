"""`POST /v1/chat/completions`: an alias, `provider/model`, or an agent as a model."""

from typing import Any

import msgspec
from litestar import Response

from gateway.agents.registry import find_agent
from gateway.bare import Call, bare_post
from gateway.errors import NotFound
from gateway.generation.models import unknown_model
from gateway.openai.chat import AgentChatRequest, ChatCompletion
from gateway.openai.chat_request import ChatRequest
from gateway.routes.agent_completions import complete_as_agent
from gateway.routes.generation import answer, prompt_of

_decode = msgspec.json.Decoder(ChatRequest).decode
_decode_agent_request = msgspec.json.Decoder(AgentChatRequest).decode


@bare_post(
    "/v1/chat/completions",
    "inference",
    takes=ChatRequest,
    gives=ChatCompletion,
    tags=["chat"],
    operation_id="create_chat_completion",
)
async def create_chat_completion(call: Call) -> None:
    """Answer an OpenAI chat completion, streamed or not."""
    asked = _decode(call.body)
    target = call.services.models.find(call.caller, asked.model)
    if target is None:
        await call.answer(await _ask_agent(call, asked))
    else:
        prompt, stream = await prompt_of(asked, call, target), bool(asked.stream)
        uploads = call.services.responses.uploads
        await uploads.put_in_messages(call.caller, prompt.fields["messages"])
        del asked  # it is as large as the body, and a stream may last
        await answer(target, prompt, call, stream=stream)


class _Session(msgspec.Struct):
    """Which conversation an agent is asked in."""

    session_id: str | None = None


async def _ask_agent(call: Call, data: ChatRequest) -> Response[Any]:
    caller, services = call.caller, call.services
    affinity = msgspec.json.decode(call.body, type=_Session).session_id or data.user
    try:
        agent = await find_agent(services.pool, caller, data.model, affinity=affinity)
    except NotFound:
        raise unknown_model(data.model) from None
    asked = _decode_agent_request(call.body)
    return await complete_as_agent(agent, asked, call.request, caller, services, asked.session_id)


HANDLERS = [create_chat_completion]
