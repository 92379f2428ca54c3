"""What the routes of completions share: a checked prompt in, a target's answer out."""

from collections.abc import Awaitable, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote

import msgspec
from litestar.types import Scope
from msgspec.structs import replace

from config.scope import TenantScope
from gateway.bare import Call
from gateway.errors import InvalidRequest
from gateway.generation.checked import Asked, checked_prompt
from gateway.generation.target import Comment, Completion, Prompt, Served, Stream, Target
from gateway.heads import header
from gateway.openai.embeddings import EmbeddingRequest
from gateway.presence import Attended
from gateway.sessions.parts import Opened
from gateway.sse import EventStream, comment, data

_AGENTS = (Served, Opened)  # a union would be made anew with each answer
_decode_fields = msgspec.json.Decoder(dict[str, Any]).decode


async def prompt_of(asked: Asked, call: Call, target: Target) -> Prompt:
    """Return what the target is asked: its fields checked, its media at hand.

    Raises:
        InvalidRequest: A field is not for this target; `param` names it.
    """
    services, caller = call.services, call.caller
    prompt = await checked_prompt(
        asked,
        _decode_fields(call.body),
        target,
        services.media,
        max_choices=services.limits.max_choices,
    )
    return replace(
        prompt,
        include_usage=_wants_usage(asked),
        tenant=caller.tenant,
        local_only=stays_local(call.scope, caller),
    )


def _wants_usage(asked: Asked) -> bool:
    if isinstance(asked, EmbeddingRequest) or not asked.stream_options:
        return False
    if not asked.stream:
        raise InvalidRequest("stream_options: only with `stream: true`", param="stream_options")
    return bool(asked.stream_options.include_usage)


def stays_local(scope: Scope, caller: TenantScope) -> bool:
    """Tell whether the prompt stays on our own engines: for this request, or as the client's rule.

    Raises:
        InvalidRequest: The header says something else.
    """
    residency = header(scope, b"x-naru-residency")
    if residency is None:
        return caller.local_only
    if residency not in ("any", "local"):
        raise InvalidRequest("x-naru-residency: send `local` or `any`", param="x-naru-residency")
    return caller.local_only or residency == "local"


def answer(target: Target, prompt: Prompt, call: Call, *, stream: bool) -> Awaitable[None]:
    """Answer with what the target says, whole or as a stream: JSON already, passed on as it is."""
    return (_answer_streaming if stream else answer_whole)(target, prompt, call)


async def _answer_streaming(target: Target, prompt: Prompt, call: Call) -> None:
    with Attended(call.receive):
        opened = await target.stream(prompt)
    del prompt, target  # the stream may last
    stream_of = EventStream(opened.payloads, served_by(opened), encode=_frame)
    await stream_of(call.scope, call.receive, call.send)


async def answer_whole(target: Target, prompt: Prompt, call: Call) -> None:
    """Answer with what the target says."""
    with Attended(call.receive):
        completion = await target.complete(prompt)
    await call.answer_json(completion.body, served_by(completion))


def served_by(answered: Completion | Stream | Served | Opened) -> dict[str, str]:
    """Return the headers that say who answered, and why not the targets before."""
    headers = {**_served_by(answered.target, answered.attempts, answered.reason)}
    if isinstance(answered, _AGENTS) and answered.agent:
        headers |= {
            "x-naru-agent": answered.agent,
            "x-naru-agent-version": str(answered.agent_version),
        }
    return headers


@lru_cache
def _served_by(target: str, attempts: int, reason: str | None) -> Mapping[str, str]:
    headers = {"x-naru-target": _ascii(target), "x-naru-attempts": str(attempts)}
    if not attempts:
        headers["x-naru-cache"] = "hit"
    if reason:
        headers["x-naru-fallback-reason"] = _ascii(reason)
    return headers


def _ascii(text: str) -> str:
    """Return what a header can hold: callers make up the names of providers' models."""
    return quote(text, safe=" /:,@+=()[]!*'~")


def _frame(payload: bytes) -> bytes:
    return comment(payload) if isinstance(payload, Comment) else data(payload)
