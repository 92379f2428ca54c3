"""One answer of two targets, told as one."""

from collections.abc import AsyncIterator

import msgspec
import pytest
from upstream_support import play_upstream

from config.targets import ProviderSettings
from gateway.errors import UpstreamInterrupted
from gateway.generation.continuation import may_continue
from gateway.generation.hosted import Hosted
from gateway.generation.http1 import HttpClient
from gateway.generation.ladder import Ladder, Policy
from gateway.generation.target import Comment, Prompt, Stream

MESSAGES = [{"role": "user", "content": "hello"}]
PROMPT = Prompt({"messages": MESSAGES, "max_tokens": 50}, include_usage=True)


def _frame(delta: dict[str, str] | None = None, finish: str | None = None, **more: object) -> bytes:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return b"data: " + msgspec.json.encode({"choices": choices, **more}) + b"\n\n"


def _usage(asked: int, said: int) -> dict[str, int]:
    return {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}


FIRST = [
    _frame({"role": "assistant", "content": ""}, id="one", model="m1"),
    _frame({"content": "half "}, id="one", model="m1", usage=_usage(9, 2)),
]
SECOND = [
    _frame({"role": "assistant", "content": "an "}, id="two", model="m2"),
    _frame({"content": "answer"}, "stop", id="two", model="m2"),
    _frame(id="two", model="m2", usage=_usage(11, 3)),
    b"data: [DONE]\n\n",
]


@pytest.fixture
async def ladder() -> AsyncIterator[Ladder]:
    """Two hosted targets: `one/m` breaks off, `two/m` goes on."""
    async with play_upstream() as one, play_upstream() as two, HttpClient() as http:
        one.stream(*FIRST)
        two.stream(*SECOND)
        rungs = [
            Hosted(http, name, ProviderSettings.model_validate({"base_url": each.url}), "m")
            for name, each in (("one", one), ("two", two))
        ]
        ladder = Ladder("x", rungs, Policy(continuation=True))
        ladder.asked = two.asked  # type: ignore[attr-defined]
        yield ladder


async def _payloads(stream: Stream) -> list[bytes]:
    return [payload async for payload in stream.payloads]


async def test_the_client_sees_one_stream(ladder: Ladder) -> None:
    stream = await ladder.stream(PROMPT)
    payloads = await _payloads(stream)
    assert [bytes(p) for p in payloads if isinstance(p, Comment)] == [b"continued by two/m"]
    chunks = [msgspec.json.decode(p) for p in payloads if not isinstance(p, Comment)]
    assert {(chunk["id"], chunk["model"]) for chunk in chunks} == {("one", "m1")}
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    assert "".join(delta.get("content", "") for delta in deltas) == "half an answer"
    assert sum("role" in delta for delta in deltas) == 1
    assert [chunk["usage"] for chunk in chunks[:-1]] == [None] * 4
    assert chunks[-1]["usage"] == {**_usage(20, 5), "continued": ["one/m", "two/m"]}
    usage = stream.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.complete) == (20, 5, True)


async def test_the_second_is_asked_to_go_on(ladder: Ladder) -> None:
    await _payloads(await ladder.stream(PROMPT))
    (asked,) = ladder.asked  # type: ignore[attr-defined]
    assert asked["messages"] == [*MESSAGES, {"role": "assistant", "content": "half "}]
    assert asked["max_tokens"] == 48


async def test_without_another_target_it_is_an_interruption(ladder: Ladder) -> None:
    alone = Ladder("y", ladder._rungs[:1], Policy(continuation=True))
    stream = await alone.stream(PROMPT)
    with pytest.raises(UpstreamInterrupted):
        await _payloads(stream)


async def test_unless_the_alias_says_so_it_is_an_interruption(ladder: Ladder) -> None:
    stream = await Ladder("y", ladder._rungs).stream(PROMPT)
    with pytest.raises(UpstreamInterrupted):
        await _payloads(stream)


async def test_leaving_in_the_second_half_counts_both(ladder: Ladder) -> None:
    stream = await ladder.stream(PROMPT)
    for _ in range(4):
        await anext(stream.payloads)
    await stream.payloads.aclose()
    assert not stream.usage.complete
    assert stream.usage.completion_tokens > 2


@pytest.mark.parametrize(
    ("fields", "may"),
    [
        ({}, True),
        ({"n": 1, "tools": [], "response_format": {"type": "text"}}, True),
        ({"n": msgspec.Raw(b"1"), "logprobs": msgspec.Raw(b"false")}, True),
        ({"n": 2}, False),
        ({"tools": msgspec.Raw(b'[{"type":"function"}]')}, False),
        ({"logprobs": True}, False),
        ({"response_format": {"type": "json_object"}}, False),
        ({"structured_outputs": {"regex": "a"}}, False),
    ],
)
def test_plain_text_alone_is_continued(fields: dict[str, object], *, may: bool) -> None:
    assert may_continue(Prompt(fields)) is may
    assert not may_continue(Prompt(fields, kind="completions"))
