"""The mock upstream answers as an OpenAI-compatible server does."""

import time
from collections.abc import AsyncIterator

import aiohttp
import pytest
from mock_support import mock, serving
from openai import AsyncOpenAI
from upstream import Script, whole_answer

ASKED = [{"role": "user", "content": "Hello"}]


@pytest.fixture
async def client() -> AsyncIterator[AsyncOpenAI]:
    async with (
        serving(mock(chunks=5, interval_ms=1)) as url,
        AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as opened,
    ):
        yield opened


@pytest.mark.parametrize("size", [500, 503, 8000])
def test_an_answer_is_as_long_as_it_is_to_be(size: int):
    _, _, body = whole_answer(Script(answer_bytes=size)).partition(b"\r\n\r\n")
    assert len(body) == size


async def test_a_whole_answer(client: AsyncOpenAI):
    answer = await client.chat.completions.create(model="mock", messages=ASKED)
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage
    assert answer.usage.total_tokens == 80


@pytest.mark.parametrize("usage", [True, False])
async def test_a_stream_says_when_each_chunk_was_written(client: AsyncOpenAI, *, usage: bool):
    began = time.monotonic_ns()
    chunks = [
        chunk
        async for chunk in await client.chat.completions.create(
            model="mock", messages=ASKED, stream=True, stream_options={"include_usage": usage}
        )
    ]
    written = [c.choices[0].delta.content for c in chunks if c.choices]
    stamps = [int(text.strip("@")) for text in written if text]
    assert len(stamps) == 5
    assert sorted(stamps) == stamps
    assert began < stamps[0]
    assert stamps[-1] < time.monotonic_ns()
    assert [bool(c.usage) for c in chunks].count(True) == usage
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"


async def test_models_are_listed(client: AsyncOpenAI):
    assert [model.id async for model in client.models.list()] == ["mock"]


async def test_what_it_does_can_be_changed_while_it_runs():
    async with serving(mock()) as url, aiohttp.ClientSession() as http:
        await http.post(f"{url}/control", json={"answer_bytes": 900})
        async with http.post(f"{url}/v1/chat/completions", json={}) as answer:
            assert len(await answer.read()) == 900
