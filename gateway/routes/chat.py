"""`POST /v1/chat/completions`: an alias, `provider/model`, or an agent as a model."""

from collections.abc import AsyncGenerator
from typing import Any, cast

import msgspec
from litestar import Request, Response, post
from litestar.params import JSONBody

from gateway.agents.registry import find_agent
from gateway.errors import NotFound
from gateway.generation.target import Prompt, Stream, Target
from gateway.guards import Caller, needs
from gateway.lifespan import Provided
from gateway.openai.chat import AgentChatRequest, ChatCompletion
from gateway.openai.chat_request import ChatRequest
from gateway.routes.agent_completions import complete_as_agent
from gateway.routes.models import unknown_model
from gateway.sse import EventStream, data

_OURS = ("model", "stream")
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
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
    body = await request.body()
    target = services.models.find(caller, data.model)
    if target is None:
        return await _ask_agent(body, data.model, caller, services)
    fields = _decode_fields(body)
    prompt = Prompt({name: value for name, value in fields.items() if name not in _OURS})
    if data.stream:
        return await _stream(target, prompt)
    completion = await target.complete(prompt)
    headers = served_by(completion.target, completion.attempts)
    # The bytes are a completion already; typing them as one keeps the OpenAPI document true.
    answer = cast("ChatCompletion", completion.body)
    return Response(answer, media_type="application/json", headers=headers)


def served_by(target: str, attempts: int) -> dict[str, str]:
    """Return the headers that say which target answered."""
    return {"x-naru-target": target, "x-naru-attempts": str(attempts)}


async def _stream(target: Target, prompt: Prompt) -> Response[ChatCompletion]:
    stream = await target.stream(prompt)
    return EventStream(_frames(stream), served_by(stream.target, stream.attempts))


async def _frames(stream: Stream) -> AsyncGenerator[bytes, None]:
    try:
        async for payload in stream.payloads:
            yield data(payload)
    finally:
        await stream.payloads.aclose()


async def _ask_agent(
    body: bytes, name: str, caller: Caller, services: Provided
) -> Response[ChatCompletion]:
    try:
        agent = await find_agent(services.pool, caller, name)
    except NotFound:
        raise unknown_model(name) from None
    asked = _decode_agent_request(body)
    return await complete_as_agent(agent.definition, asked, caller, services, asked.session_id)


HANDLERS = [create_chat_completion]
