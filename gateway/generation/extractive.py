"""The target that needs no model: it quotes the passages' best sentences, and says so."""

import re
import time
import uuid
from collections.abc import AsyncGenerator, Sequence
from typing import Final

import msgspec

from gateway.errors import InvalidRequest
from gateway.generation.target import Completion, Prompt, Stream
from gateway.openai.chat import (
    AnswerMessage,
    ChatChunk,
    ChatCompletion,
    Choice,
    ChunkChoice,
    Delta,
    Usage,
)
from gateway.openai.tokens import estimate_tokens
from gateway.openai.usage import TokenUsage
from rag import Embedder, Quote, extract
from rag.answerable import THRESHOLD

NAME = "extractive"

_WORD = re.compile(r"\s*\S+\s*")
_ENDED = re.compile(r"[.!?。！？…][\"'”’」』)\]]*\Z")


class Extractive:
    """Answers an agent's prompt with verbatim, cited sentences; deterministic."""

    name = NAME
    place: Final = "here"
    accepts_unknown = True
    context = None
    usable = True

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    def first_token_s(self, prompt: Prompt) -> float:
        """Return 0: there is no queue."""
        del prompt
        return 0.0

    async def complete(self, prompt: Prompt) -> Completion:
        """Return the quotes as one completion."""
        text = await self._answer(prompt)
        usage = _count(prompt, text)
        completion = ChatCompletion(
            id=f"chatcmpl-{uuid.uuid4().hex}",
            created=int(time.time()),
            model=NAME,
            choices=[Choice(AnswerMessage(text), "stop")],
            usage=_tell(usage),
        )
        return Completion(msgspec.json.encode(completion), self.name, usage=usage)

    async def stream(self, prompt: Prompt) -> Stream:
        """Return the quotes as a stream, a word a chunk."""
        text = await self._answer(prompt)
        usage = _count(prompt, text)
        chunks = _chunks(text, _tell(usage) if prompt.include_usage else None)
        return Stream(chunks, NAME, usage=usage)

    async def _answer(self, prompt: Prompt) -> str:
        if prompt.retrieval is None:
            raise InvalidRequest(
                "no language model is configured for this alias: the extractive engine answers "
                "only agents, from their documents; add a provider to the settings "
                "(`providers:`, or OPENAI_API_KEY) and name it in `models:`",
                param="model",
                code="no_language_model",
            )
        judged = prompt.threshold is not None
        threshold = THRESHOLD if prompt.threshold is None else prompt.threshold
        quotes = await extract(prompt.retrieval, self._embedder, judged=judged, threshold=threshold)
        return _joined(quotes)


def _joined(quotes: Sequence[Quote]) -> str:
    """Return the quotes with their markers, in lines where a row or a fragment is among them."""
    ended = all(_ENDED.search(quote.text) for quote in quotes)
    between = " " if ended else "\n"
    return between.join(f"{quote.text} [{quote.passage + 1}]" for quote in quotes)


async def _chunks(text: str, usage: Usage | None) -> AsyncGenerator[bytes, None]:
    name, created = f"chatcmpl-{uuid.uuid4().hex}", int(time.time())

    def chunk(delta: Delta, finish: str | None = None) -> bytes:
        choices = [ChunkChoice(delta, finish)]
        return msgspec.json.encode(ChatChunk(name, created, NAME, choices))

    yield chunk(Delta(role="assistant", content=""))
    for word in _WORD.findall(text):
        yield chunk(Delta(content=word))
    yield chunk(Delta(), "stop")
    if usage:
        yield msgspec.json.encode(ChatChunk(name, created, NAME, [], usage=usage))


def _count(prompt: Prompt, text: str) -> TokenUsage:
    asked = estimate_tokens(str(prompt.fields.get("messages", "")))
    return TokenUsage(asked, estimate_tokens(text), estimated=True, complete=True)


def _tell(usage: TokenUsage) -> Usage:
    return Usage(usage.prompt_tokens, usage.completion_tokens, usage.total_tokens)
