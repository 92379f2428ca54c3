"""What a stream has said so far: checked, counted, mended for the client."""

from collections.abc import Iterator
from typing import Any

import msgspec

from gateway.generation.target import ChunkView, Prompt, view_chunk
from gateway.generation.template import Template
from gateway.openai.normalise import Kind, Normaliser
from gateway.openai.usage import TokenUsage, UsageView

_WORDS: dict[Kind, str] = {
    "chat": "messages",
    "completions": "prompt",
    "embeddings": "input",
    "moderations": "input",
}


# Some servers put something else into every chunk.
_TRIES = 4
_encode = msgspec.json.Encoder().encode


class BrokenOff(Exception):
    """The upstream itself says, in its stream, that it can't go on."""


class Transcript:
    """One stream's chunks, from the upstream's words to the client's.

    Attributes:
        begun: Whether there was content.
        usage: The tokens so far.
    """

    __slots__ = (
        "_answers",
        "_counted",
        "_normaliser",
        "_prompt",
        "_said_bytes",
        "_template",
        "_told",
        "_tries",
        "begun",
        "usage",
    )

    def __init__(self, prompt: Prompt, model: str, usage: TokenUsage | None = None) -> None:
        self.begun = False
        self.usage = usage or TokenUsage()
        self._prompt = prompt
        self._normaliser = Normaliser(prompt.kind, model)
        self._told: bytes | None = None
        self._answers: dict[int, bool] = {}
        self._said_bytes = 0
        self._counted = False
        self._template: Template | None = None
        self._tries = _TRIES

    @property
    def answered(self) -> bool:
        """Tell whether any answer began."""
        return bool(self._answers)

    @property
    def ended(self) -> bool:
        """Tell whether every answer that began has its `finish_reason`."""
        return self.answered and all(self._answers.values())

    def take(self, payload: bytes) -> bytes | None:
        """Return the chunk for the client; None when it holds nothing but usage.

        Raises:
            ValueError: It is no chunk.
            BrokenOff: It is an error.
        """
        if self._template and (found := self._template.match(payload)):
            text, told = found
            self._count_text(1, len(text), told)
            return self._template.tell(text)
        chunk = view_chunk(payload)
        if chunk.error is not None:
            raise BrokenOff
        self._count(chunk)
        if chunk.usage and not chunk.choices:
            self._told = self._normaliser.chunk(payload, usage="keep")
            return None
        self.begun = self.begun or chunk.commits
        mended = self._mended(payload)
        if self._tries and (template := Template.of(chunk, payload, mended)):
            self._template = template
            self._tries -= 1
        return mended

    def finish(self) -> Iterator[bytes]:
        """Yield the ends that answers lack, and the usage where the client asked for it."""
        self.usage.complete = True
        self.settle()
        if not self.ended:
            yield self._end()
        if self._prompt.include_usage:
            yield self._told or self._normaliser.usage_chunk(wire_usage(self.usage))

    def _end(self) -> bytes:
        """Return the chunk that ends what has no `finish_reason`, as whole answers are mended."""
        left = [index for index, ended in self._answers.items() if not ended]
        choices = [{"index": index, "finish_reason": "stop"} for index in left]
        return self._mended(_encode({"choices": choices}))

    def _mended(self, payload: bytes) -> bytes:
        usage = self._prompt.include_usage
        return self._normaliser.chunk(payload, usage="null" if usage else "none")

    def settle(self) -> None:
        """Estimate what the upstream did not tell."""
        if not self._counted:
            self.usage.prompt_tokens = estimate_prompt(self._prompt)
            self.usage.estimated = True

    def _count(self, chunk: ChunkView) -> None:
        chunks = said_bytes = 0
        for choice in chunk.choices:
            ended = choice.finish_reason is not None
            self._answers[choice.index] = ended or self._answers.get(choice.index, False)
            said, tools = choice.said, choice.delta.tool_calls
            said_bytes += len(said.encode("utf-8", "replace")) + len(str(tools or ""))
            chunks += bool(said or tools or choice.delta.refusal)
        self._count_text(chunks, said_bytes, chunk.usage)

    def _count_text(self, chunks: int, said_bytes: int, told: UsageView | None) -> None:
        """Count what a chunk adds: as the upstream tells it, else by its length."""
        usage = self.usage
        usage.chunks += chunks
        if told and usage.take(told):
            self._counted = True
        if not self._counted:
            self._said_bytes += said_bytes
            usage.completion_tokens = -(-self._said_bytes // 3)
            usage.estimated = True


def words_of(prompt: Prompt) -> bytes:
    """Return what a prompt asks, as JSON."""
    field = prompt.fields.get(_WORDS[prompt.kind], "")
    return bytes(field) if isinstance(field, msgspec.Raw) else _encode(field)


def estimate_prompt(prompt: Prompt) -> int:
    """Return about how many tokens a prompt has."""
    return -(-len(words_of(prompt)) // 3)


def wire_usage(usage: TokenUsage) -> dict[str, Any]:
    """Return token counts in OpenAI's words."""
    counts: dict[str, Any] = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }
    if usage.cached_tokens:
        counts["prompt_tokens_details"] = {"cached_tokens": usage.cached_tokens}
    return counts
