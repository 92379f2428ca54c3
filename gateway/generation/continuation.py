"""An answer that broke off, continued by another target from its own words."""

from collections.abc import Awaitable, Callable
from copy import copy
from typing import Any, Self

import msgspec
from msgspec.structs import replace

from gateway.errors import GatewayError, UpstreamError, UpstreamRefused
from gateway.generation.target import Comment, Prompt, Stream, view_chunk
from gateway.openai.usage import TokenUsage

_HEAD = ("id", "created", "model", "system_fingerprint")
_NOT_PLAIN = ("tools", "functions", "logprobs", "top_logprobs", "audio", "structured_outputs")
_LIMITS = ("max_tokens", "max_completion_tokens")

GoOn = Callable[[Prompt], Awaitable[Stream]]


def may_continue(prompt: Prompt) -> bool:
    """Tell whether the answer will be one plain text, which can be cut and joined anywhere."""
    if prompt.kind != "chat" or any(_plain(prompt, name) for name in _NOT_PLAIN):
        return False
    form = _plain(prompt, "response_format")
    return (not form or form == {"type": "text"}) and _plain(prompt, "n") in (None, 1)


class Continuation:
    """A stream's payloads, and another's that goes on where it breaks off.

    To the client it is one stream: same id, same model, one role, one usage; a comment says that,
    and from where, it goes on, and the usage names both targets.

    Attributes:
        usage: What both took, once it is closed.
    """

    def __init__(self, stream: Stream, prompt: Prompt, go_on: GoOn) -> None:
        self.usage = TokenUsage()
        self._stream = stream
        self._current = stream
        self._prompt = prompt
        self._go_on = go_on
        self._text: list[str] = []
        self._head: dict[str, Any] = {}
        self._earlier = TokenUsage()
        self._plain = True

    def __aiter__(self) -> Self:
        """Return itself."""
        return self

    async def __anext__(self) -> bytes:
        """Return the next payload."""
        try:
            payload = await anext(self._current.payloads)
        except UpstreamRefused:
            raise
        except UpstreamError as error:
            return await self._switch(error)
        except BaseException:
            self._settle()
            raise
        if self._current is not self._stream:
            return self._joined(payload)
        if self._plain:
            self._remember(payload)
        return payload

    async def aclose(self) -> None:
        """End it, and the upstream's work with it."""
        try:
            await self._current.payloads.aclose()
        finally:
            self._settle()

    def _remember(self, payload: bytes) -> None:
        if not self._head:
            chunk = msgspec.json.decode(payload)
            self._head = {name: chunk[name] for name in _HEAD if name in chunk}
        view = view_chunk(payload)
        for choice in view.choices:
            # Thoughts can't be taken up again, nor an answer that has ended.
            self._plain = self._plain and choice.said == (choice.delta.content or "")
            self._plain = self._plain and choice.finish_reason is None
        self._text.append(view.content)

    async def _switch(self, error: UpstreamError) -> bytes:
        """Return the comment that tells of the other target, once that has begun to speak."""
        text = "".join(self._text)
        if self._current is not self._stream or not self._plain or not text:
            self._settle()
            raise error
        if charge := self._prompt.charge:
            charge.break_off()
        try:
            following = await self._go_on(_from(self._prompt, text, self._stream.usage))
        except GatewayError:
            self._settle()
            raise error from None
        if charge:
            charge.note_passed(f"{self._stream.target}: {error.code}", following.reason)
        self._earlier = copy(self._stream.usage)
        self._current = following
        return Comment(f"continued by {following.target}".encode())

    def _joined(self, payload: bytes) -> bytes:
        chunk = msgspec.json.decode(payload)
        chunk |= self._head
        for choice in chunk.get("choices", ()):
            choice.get("delta", {}).pop("role", None)
        if usage := chunk.get("usage"):
            chunk["usage"] = self._total(usage)
        return msgspec.json.encode(chunk)

    def _total(self, usage: dict[str, Any]) -> dict[str, Any]:
        sums = {
            "prompt_tokens": usage["prompt_tokens"] + self._earlier.prompt_tokens,
            "completion_tokens": usage["completion_tokens"] + self._earlier.completion_tokens,
            "total_tokens": usage["total_tokens"] + self._earlier.total_tokens,
        }
        return usage | sums | {"continued": [self._stream.target, self._current.target]}

    def _settle(self) -> None:
        """Give the usage its last value."""
        told, usage = self._current.usage, self.usage
        usage.prompt_tokens = self._earlier.prompt_tokens + told.prompt_tokens
        usage.completion_tokens = self._earlier.completion_tokens + told.completion_tokens
        usage.cached_tokens = self._earlier.cached_tokens + told.cached_tokens
        usage.engine_ns = self._earlier.engine_ns + told.engine_ns
        usage.estimated = self._earlier.estimated or told.estimated
        usage.complete = told.complete


def _from(prompt: Prompt, text: str, usage: TokenUsage) -> Prompt:
    """Return the prompt that asks to go on after `text`."""
    fields = dict(prompt.fields)
    fields["messages"] = [*_plain(prompt, "messages"), {"role": "assistant", "content": text}]
    for name in _LIMITS:
        if limit := _plain(prompt, name):
            fields[name] = max(1, limit - usage.completion_tokens)
    return replace(prompt, fields=fields, continues=True)


def _plain(prompt: Prompt, name: str) -> Any:  # noqa: ANN401 - JSON
    value = prompt.fields.get(name)
    return msgspec.json.decode(value) if isinstance(value, msgspec.Raw) else value
