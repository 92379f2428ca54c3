"""A request of a caller as a prompt: its fields checked for the target, its media at hand."""

from collections.abc import Mapping
from typing import Any

from gateway.generation.target import Prompt, Target
from gateway.media import Media
from gateway.openai.chat_request import ChatRequest
from gateway.openai.completions import CompletionRequest
from gateway.openai.embeddings import EmbeddingRequest
from gateway.openai.engine_fields import engine_fields
from gateway.openai.normalise import Kind

Asked = ChatRequest | CompletionRequest | EmbeddingRequest
"""A request as decoded from its body."""

_KINDS: dict[type, Kind] = {
    ChatRequest: "chat",
    CompletionRequest: "completions",
    EmbeddingRequest: "embeddings",
}
_OURS = frozenset({"model", "stream", "stream_options"})


async def checked_prompt(
    asked: Asked, given: Mapping[str, Any], target: Target, media: Media, *, max_choices: int
) -> Prompt:
    """Return what the target is asked; for whom, and where it may go, is for the caller to add.

    `given` is everything that the body of `asked` held.

    Raises:
        InvalidRequest: A field is not for this target; `param` names it.
    """
    fields = dict(given)
    if None in fields.values():
        fields = {name: value for name, value in given.items() if value is not None}
    if not target.accepts_unknown:
        fields = engine_fields(asked, fields, max_choices=max_choices)
    affinity = None
    if isinstance(asked, ChatRequest):
        affinity = asked.prompt_cache_key
        await media.inline(fields["messages"], files=target.accepts_unknown)
    for name in _OURS & fields.keys():
        del fields[name]
    return Prompt(fields, kind=_KINDS[type(asked)], affinity=affinity)
