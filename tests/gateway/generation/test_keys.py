"""Several keys: in turn, and one that is refused or at its limit rests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from upstream_support import COMPLETION, Upstream, json_answer, play_upstream

from config.targets import ProviderSettings
from gateway.errors import Overloaded, UpstreamError
from gateway.generation.hosted import Hosted
from gateway.generation.http1 import HttpClient
from gateway.generation.target import Prompt

PROMPT = Prompt({"messages": []})


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with play_upstream() as playing:
        yield playing


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    async with HttpClient() as session:
        yield session


def _hosted(http: HttpClient, upstream: Upstream, **more: object) -> Hosted:
    values = {"base_url": upstream.url, **more}
    return Hosted(http, "p", ProviderSettings.model_validate(values), "m")


def _used(upstream: Upstream) -> list[str]:
    return [headers["Authorization"].removeprefix("Bearer ") for headers in upstream.headers]


async def test_keys_are_used_in_turn(http: HttpClient, upstream: Upstream) -> None:
    target = _hosted(http, upstream, api_keys=["a", "b", "c"])
    for _ in range(4):
        await target.complete(PROMPT)
    assert _used(upstream) == ["a", "b", "c", "a"]


@pytest.mark.parametrize("status", [401, 403, 429])
async def test_the_next_key_stands_in(http: HttpClient, upstream: Upstream, status: int) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        refused = request.headers["Authorization"].endswith("a")
        return await json_answer(COMPLETION, status if refused else 200, retry_after="60")

    upstream.answer = answer
    target = _hosted(http, upstream, api_keys=["a", "b"])
    assert (await target.complete(PROMPT)).attempts == 2
    for _ in range(3):
        assert (await target.complete(PROMPT)).attempts == 1
    assert _used(upstream) == ["a", "b", "b", "b", "b"]


async def test_when_every_key_is_refused_that_is_the_answer(
    http: HttpClient, upstream: Upstream
) -> None:
    upstream.answer = lambda _: json_answer(b"{}", 401)
    target = _hosted(http, upstream, api_keys=["a", "b"])
    with pytest.raises(UpstreamError) as caught:
        await target.complete(PROMPT)
    assert caught.value.code == "upstream_status_401"
    assert _used(upstream) == ["a", "b"]


async def test_other_failures_are_not_the_keys(http: HttpClient, upstream: Upstream) -> None:
    upstream.answer = lambda _: json_answer(b"{}", 500)
    with pytest.raises(UpstreamError):
        await _hosted(http, upstream, api_keys=["a", "b"]).complete(PROMPT)
    assert _used(upstream) == ["a"]


async def test_one_key_at_its_limit(http: HttpClient, upstream: Upstream) -> None:
    upstream.answer = lambda _: json_answer(b"{}", 429)
    with pytest.raises(Overloaded):
        await _hosted(http, upstream, api_key="a").complete(PROMPT)


async def test_keys_of_a_file(http: HttpClient, upstream: Upstream, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("a\n\n b \n")
    target = _hosted(http, upstream, api_keys_file=tmp_path / "keys")
    await target.complete(PROMPT)
    await target.complete(PROMPT)
    assert _used(upstream) == ["a", "b"]


async def test_azure_has_its_own_header_and_version(http: HttpClient, upstream: Upstream) -> None:
    seen: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append(request.path_qs)
        return await json_answer(COMPLETION)

    upstream.answer = answer
    target = _hosted(http, upstream, kind="azure", api_key="a", api_version="2024-10-21")
    await target.complete(PROMPT)
    assert upstream.headers[0]["api-key"] == "a"
    assert "Authorization" not in upstream.headers[0]
    assert seen == ["/v1/chat/completions?api-version=2024-10-21"]


async def test_without_a_key_none_is_sent(http: HttpClient, upstream: Upstream) -> None:
    await _hosted(http, upstream).complete(PROMPT)
    assert "Authorization" not in upstream.headers[0]
