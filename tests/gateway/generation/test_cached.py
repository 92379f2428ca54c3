from collections.abc import AsyncGenerator
from typing import Any

import msgspec
import pytest
from support import scope_of

from gateway.generation.cached import Cached
from gateway.generation.target import Comment, Completion, Prompt, Stream
from gateway.govern.cache import CachedAnswer
from gateway.govern.charge import Asked, Charge
from gateway.openai.usage import TokenUsage


def prompt(**fields: Any) -> Prompt:
    charge = Charge(scope_of("acme", "app"), Asked("chat", "m"))
    asked = {"messages": [{"role": "user", "content": "hi"}], **fields}
    return Prompt(asked, charge=charge)


def chunk(text: str, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return msgspec.json.encode({"choices": [choice]})


class Store:
    """A cache in this process."""

    max_answer_bytes = 1000

    def __init__(self) -> None:
        self.kept: dict[str, CachedAnswer] = {}

    async def find(self, key: str) -> CachedAnswer | None:
        return self.kept.get(key)

    async def keep(self, key: str, answer: CachedAnswer, ttl_s: float) -> None:
        assert ttl_s == 60
        self.kept[key] = answer


class Ladder:
    name, accepts_unknown = "m", True

    def __init__(self, finish: str = "stop", *, complete: bool = True) -> None:
        self.asked = 0
        self._finish = finish
        self._complete = complete

    @property
    def _usage(self) -> TokenUsage:
        return TokenUsage(3, 2, complete=self._complete)

    async def complete(self, _: Prompt) -> Completion:
        self.asked += 1
        message = {"role": "assistant", "content": str(self.asked)}
        choice = {"index": 0, "message": message, "finish_reason": self._finish}
        return Completion(msgspec.json.encode({"choices": [choice]}), "fake/x", usage=self._usage)

    async def stream(self, _: Prompt) -> Stream:
        self.asked += 1
        return Stream(self._payloads(), "fake/x", usage=self._usage)

    async def _payloads(self) -> AsyncGenerator[bytes, None]:
        yield chunk("a")
        yield Comment(b"words")
        yield chunk("", self._finish)


async def told(stream: Stream) -> list[bytes]:
    try:
        return [payload async for payload in stream.payloads]
    finally:
        await stream.payloads.aclose()


async def test_an_answer_is_told_again() -> None:
    ladder, store = Ladder(), Store()
    target: Any = Cached(ladder, store, 60)
    first = await target.complete(prompt())
    again = await target.complete(prompt())
    assert (again.body, again.target, again.attempts) == (first.body, "fake/x", 0)
    assert (again.usage.prompt_tokens, again.usage.completion_tokens) == (3, 2)
    await target.complete(prompt(temperature=1))
    assert ladder.asked == 2


async def test_a_stream_is_told_again_as_a_stream() -> None:
    ladder, store = Ladder(), Store()
    target: Any = Cached(ladder, store, 60)
    first = await told(await target.stream(prompt()))
    replayed = await target.stream(prompt())
    assert replayed.attempts == 0
    assert await told(replayed) == [part for part in first if not isinstance(part, Comment)]
    await target.complete(prompt())
    assert ladder.asked == 2, "a stream is no whole answer"


@pytest.mark.parametrize("ladder", [Ladder("length"), Ladder(complete=False), Ladder("")])
async def test_what_is_not_whole_is_not_kept(ladder: Ladder) -> None:
    store = Store()
    target: Any = Cached(ladder, store, 60)
    await target.complete(prompt())
    await told(await target.stream(prompt()))
    assert not store.kept


async def test_a_stream_that_is_left_is_not_kept() -> None:
    store = Store()
    target: Any = Cached(Ladder(), store, 60)
    stream = await target.stream(prompt())
    await anext(stream.payloads)
    await stream.payloads.aclose()
    assert not store.kept


async def test_a_stream_that_is_too_long_is_not_kept() -> None:
    store = Store()
    store.max_answer_bytes = 10
    target: Any = Cached(Ladder(), store, 60)
    assert len(await told(await target.stream(prompt()))) == 3
    assert not store.kept


async def test_what_stands_on_no_account_is_not_kept() -> None:
    store = Store()
    target: Any = Cached(Ladder(), store, 60)
    await target.complete(Prompt(prompt().fields))
    await told(await target.stream(Prompt(prompt().fields)))
    assert not store.kept
