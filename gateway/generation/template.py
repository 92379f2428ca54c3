"""Chunks that differ from one before in their text alone, as nearly all of a stream do.

Such a chunk is neither decoded nor mended nor encoded again: what stood around the text is the
same, byte by byte, and so is what the client was told around it.
"""

import re
from dataclasses import dataclass
from typing import Self

import msgspec

from gateway.generation.target import ChunkView
from gateway.openai.usage import UsageView

_TEXT = b'"content":"'
_USAGE = b',"usage":'
_PLAIN = re.compile(rb'[^"\\\x00-\x1f]+')
_decode_usage = msgspec.json.Decoder(UsageView | None).decode


@dataclass(frozen=True, slots=True)
class Template:
    """What is around a chunk's text: `before` and `after` of the upstream, `told` to the client."""

    before: bytes
    after: bytes
    told_before: bytes
    told_after: bytes

    @classmethod
    def of(cls, chunk: ChunkView, payload: bytes, told: bytes) -> Self | None:
        """Return what is around the text of a chunk that adds nothing but text; else None."""
        if not (_adds_text_alone(chunk) and payload.count(_TEXT) == told.count(_TEXT) == 1):
            return None
        before, _, rest = _without_usage(payload)[0].partition(_TEXT)
        text, _, after = rest.partition(b'"')
        told_before, _, told_rest = told.partition(_TEXT)
        told_text, _, told_after = told_rest.partition(b'"')
        if not (text == told_text == chunk.content.encode("utf-8", "replace")):
            return None
        made = cls(before + _TEXT, b'"' + after, told_before + _TEXT, b'"' + told_after)
        return made if made.match(payload) == (text, chunk.usage) else None

    def match(self, payload: bytes) -> tuple[bytes, UsageView | None] | None:
        """Return text and token counts of a chunk that differs in nothing else; else None."""
        start = len(self.before)
        rest, usage = _without_usage(payload)
        if not (rest.startswith(self.before) and rest.endswith(self.after)):
            return None
        text = rest[start : len(rest) - len(self.after)]
        if not _PLAIN.fullmatch(text):
            return None
        try:
            text.isascii() or text.decode()
            return text, _decode_usage(usage)
        except (UnicodeDecodeError, msgspec.DecodeError):
            return None

    def tell(self, text: bytes) -> bytes:
        """Return the client's chunk."""
        return self.told_before + text + self.told_after


def _adds_text_alone(chunk: ChunkView) -> bool:
    if len(chunk.choices) != 1:
        return False
    delta = chunk.choices[0].delta
    others = (delta.tool_calls, delta.reasoning, delta.reasoning_content, delta.refusal)
    return bool(delta.content) and chunk.choices[0].finish_reason is None and not any(others)


def _without_usage(payload: bytes) -> tuple[bytes, bytes]:
    """Return a chunk without the token counts at its end, and those."""
    rest, found, usage = payload.rpartition(_USAGE)
    return (rest, usage[:-1]) if found and usage.endswith(b"}") else (payload, b"null")
