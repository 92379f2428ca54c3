"""A ladder whose whole answers are told again to who asks exactly the same."""

from typing import Self

from msgspec.structs import replace

from gateway.generation.target import (
    Comment,
    Completion,
    Payloads,
    Prompt,
    Stream,
    Target,
    view_chunk,
    view_completion,
)
from gateway.govern.cache import CachedAnswer, ResponseCache, cache_key
from gateway.openai.usage import TokenUsage

_WHOLE = frozenset({"stop", "tool_calls", "function_call"})


class Cached:
    """What comes from the cache took no attempt; its usage is that of when it was made."""

    def __init__(self, ladder: Target, cache: ResponseCache, ttl_s: float) -> None:
        self.name = ladder.name
        self.accepts_unknown = ladder.accepts_unknown
        self._ladder = ladder
        self._cache = cache
        self._ttl_s = ttl_s

    async def complete(self, prompt: Prompt) -> Completion:
        """Return the whole answer."""
        key = self._key(prompt, stream=False)
        found = key and await self._cache.find(key)
        if found:
            return Completion(found.parts[0], found.target, 0, usage=_usage(found))
        completion = await self._ladder.complete(prompt)
        if key and completion.usage.complete and _ended(prompt, completion.body):
            answer = _answer(completion.target, [completion.body], completion.usage)
            await self._cache.keep(key, answer, self._ttl_s)
        return completion

    async def stream(self, prompt: Prompt) -> Stream:
        """Return the opened stream; it is kept when it has come to its end."""
        key = self._key(prompt, stream=True)
        found = key and await self._cache.find(key)
        if found:
            return Stream(_Replayed(found.parts), found.target, 0, usage=_usage(found))
        stream = await self._ladder.stream(prompt)
        if not key:
            return stream
        return replace(stream, payloads=_Kept(stream, self._cache, key, self._ttl_s))

    def _key(self, prompt: Prompt, *, stream: bool) -> str | None:
        if prompt.charge is None:
            return None
        index = prompt.retrieval and [
            [passage.chunk_id, passage.content] for passage in prompt.retrieval.passages
        ]
        asked = [
            prompt.kind,
            stream and [prompt.include_usage],
            prompt.local_only,
            prompt.continues,
            dict(prompt.fields),
            index,
        ]
        return cache_key(prompt.charge.scope, self.name, asked)


class _Replayed:
    """A stream's payloads out of the cache."""

    def __init__(self, parts: list[bytes]) -> None:
        self._parts = iter(parts)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        for part in self._parts:
            return part
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self._parts = iter(())


class _Kept:
    """A stream's payloads, remembered while they pass."""

    def __init__(self, stream: Stream, cache: ResponseCache, key: str, ttl_s: float) -> None:
        self._stream = stream
        self._cache = cache
        self._key = key
        self._ttl_s = ttl_s
        self._parts: list[bytes] | None = []
        self._bytes = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            payload = await anext(self._payloads)
        except StopAsyncIteration:
            await self._keep()
            raise
        except BaseException:
            self._parts = None
            raise
        self._remember(payload)
        return payload

    async def aclose(self) -> None:
        self._parts = None
        await self._payloads.aclose()

    @property
    def _payloads(self) -> Payloads:
        return self._stream.payloads

    def _remember(self, payload: bytes) -> None:
        if self._parts is None or isinstance(payload, Comment):
            return
        self._bytes += len(payload)
        if self._bytes > self._cache.max_answer_bytes:
            self._parts = None
        else:
            self._parts.append(payload)

    async def _keep(self) -> None:
        parts, self._parts = self._parts, None
        if parts and self._stream.usage.complete and _ended_stream(parts):
            answer = _answer(self._stream.target, parts, self._stream.usage)
            await self._cache.keep(self._key, answer, self._ttl_s)


def _ended(prompt: Prompt, body: bytes) -> bool:
    """Tell whether an answer is whole, not cut off by a limit or a filter."""
    if prompt.kind == "embeddings":
        return True
    choices = view_completion(body).choices
    return bool(choices) and all(choice.finish_reason in _WHOLE for choice in choices)


def _ended_stream(parts: list[bytes]) -> bool:
    ends: dict[int, str | None] = {}
    for part in parts:
        for choice in view_chunk(part).choices:
            ends[choice.index] = choice.finish_reason or ends.get(choice.index)
    return bool(ends) and all(end in _WHOLE for end in ends.values())


def _answer(target: str, parts: list[bytes], usage: TokenUsage) -> CachedAnswer:
    return CachedAnswer(target, parts, usage.prompt_tokens, usage.completion_tokens)


def _usage(found: CachedAnswer) -> TokenUsage:
    return TokenUsage(found.prompt_tokens, found.completion_tokens, complete=True)
