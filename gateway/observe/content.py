"""What was asked and answered, on spans: only where the settings want it, and never unmasked."""

from collections.abc import Callable, Mapping
from typing import Any, Self

import msgspec

from gateway.generation.target import Comment, Payloads, view_chunk, view_completion
from gateway.govern.charge import Attempt

Mask = Callable[[str], str]

_MOST_CHARS = 8_000


def asked_text(fields: Mapping[str, Any], mask: Mask) -> str:
    """Return a request's messages as the conventions write them."""
    messages = fields.get("messages")
    if not isinstance(messages, list):
        return ""
    return _written([(m.get("role"), _text(m.get("content"))) for m in messages], mask)


def answered_text(body: bytes, mask: Mask) -> str:
    """Return what a whole answer says."""
    choices = view_completion(body).choices
    return _written([("assistant", each.message.content or each.text) for each in choices], mask)


class Heard:
    """A stream's payloads, whose words are put on the attempt's span when it ends."""

    def __init__(self, payloads: Payloads, attempt: Attempt, mask: Mask) -> None:
        self._payloads = payloads
        self._attempt = attempt
        self._mask = mask
        self._said: list[str] = []

    def __aiter__(self) -> Self:
        """Return itself."""
        return self

    async def __anext__(self) -> bytes:
        """Return the next payload."""
        try:
            payload = await anext(self._payloads)
        except BaseException:
            self._tell()
            raise
        if not isinstance(payload, Comment):
            self._said.append(view_chunk(payload).content)
        return payload

    async def aclose(self) -> None:
        """End it, and the upstream's work with it."""
        self._tell()
        await self._payloads.aclose()

    def _tell(self) -> None:
        if self._attempt.span and self._said:
            text = _written([("assistant", "".join(self._said))], self._mask)
            self._attempt.span.set_attribute("gen_ai.output.messages", text)
            self._said.clear()


def _text(content: object) -> str:
    if isinstance(content, list):
        parts = (part.get("text") for part in content if isinstance(part, dict))
        return "\n".join(text for text in parts if isinstance(text, str))
    return content if isinstance(content, str) else ""


def _written(said: list[tuple[Any, str]], mask: Mask) -> str:
    messages, left = [], _MOST_CHARS
    for role, text in said:
        # Masked before it is cut: half of a number is not known for one.
        told = mask(text[: 2 * _MOST_CHARS])[:left]
        left -= len(told)
        messages.append({"role": role, "parts": [{"type": "text", "content": told}]})
    return msgspec.json.encode(messages).decode()
