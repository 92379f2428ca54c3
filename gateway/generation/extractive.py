"""The target that needs no model: it quotes the passages' best sentences, and says so."""

import re
import time
import uuid
from collections.abc import AsyncGenerator

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
from rag import Embedder, extract

NAME = "extractive"

_WORD = re.compile(r"\s*\S+\s*")


class Extractive:
    """Answers an agent's prompt with verbatim, cited sentences; deterministic."""

    name = NAME

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    async def complete(self, prompt: Prompt) -> Completion:
        """Return the quotes as one completion."""
        text = await self._answer(prompt)
        completion = ChatCompletion(
            id=f"chatcmpl-{uuid.uuid4().hex}",
            created=int(time.time()),
            model=NAME,
            choices=[Choice(AnswerMessage(text), "stop")],
            usage=_usage(prompt, text),
        )
        return Completion(msgspec.json.encode(completion), self.name)

    async def stream(self, prompt: Prompt) -> Stream:
        """Return the quotes as a stream, a word a chunk."""
        text = await self._answer(prompt)
        return Stream(_chunks(text, _usage(prompt, text) if prompt.include_usage else None), NAME)

    async def _answer(self, prompt: Prompt) -> str:
        if prompt.retrieval is None:
            raise InvalidRequest(
                "no language model is configured for this alias: the extractive engine answers "
                "only agents, from their documents; add a provider to the settings "
                "(`providers:`, or OPENAI_API_KEY) and name it in `models:`",
                param="model",
                code="no_language_model",
            )
        quotes = await extract(prompt.retrieval, self._embedder)
        return " ".join(f"{quote.text} [{quote.passage + 1}]" for quote in quotes)


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


def _usage(prompt: Prompt, text: str) -> Usage:
    asked = estimate_tokens(str(prompt.fields.get("messages", "")))
    said = estimate_tokens(text)
    return Usage(prompt_tokens=asked, completion_tokens=said, total_tokens=asked + said)
