"""The response cache in a real Redis."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import redis.asyncio
from support import scope_of

from auth import SecretBox
from config.cache import CacheSettings
from config.scope import Allowed
from gateway.govern import cache
from gateway.govern.cache import CachedAnswer, ResponseCache, cache_key

BOX = SecretBox("s" * 32)
ANNA = scope_of("acme", "app")


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator["redis.asyncio.Redis"]:
    async with redis.asyncio.from_url(redis_url) as opened:
        await opened.flushdb()
        yield opened


def answer(text: str = "yes") -> CachedAnswer:
    return CachedAnswer("fake/x", [text.encode()], 3, 1)


async def test_what_is_kept_is_found(client: "redis.asyncio.Redis") -> None:
    here, there = (ResponseCache(client, BOX, CacheSettings()) for _ in range(2))
    key = cache_key(ANNA, "m", {"messages": ["hi"]})
    assert await there.find(key) is None
    await here.keep(key, answer(), 60)
    assert await there.find(key) == answer()
    assert 0 < await client.ttl(key) <= 60


async def test_redis_holds_no_text(client: "redis.asyncio.Redis") -> None:
    key = cache_key(ANNA, "m", "a secret question")
    await ResponseCache(client, BOX, CacheSettings()).keep(key, answer("secret answer"), 60)
    assert b"secret" not in (await client.get(key) or b"")
    assert b"secret" not in b"".join(await client.keys("*"))


async def test_an_answer_moved_to_another_name_is_none(client: "redis.asyncio.Redis") -> None:
    mine, theirs = cache_key(ANNA, "m", "?"), cache_key(scope_of("rival", "x"), "m", "?")
    kept = ResponseCache(client, BOX, CacheSettings())
    await kept.keep(mine, answer(), 60)
    await client.set(theirs, await client.get(mine))
    assert await kept.find(theirs) is None
    await client.set(theirs, b"nonsense")
    assert await kept.find(theirs) is None


@pytest.mark.parametrize(
    "other",
    [
        replace(ANNA, tenant="rival"),
        replace(ANNA, local_only=True),
        replace(ANNA, allowed=Allowed(models=frozenset({"m"}))),
        replace(ANNA, allowed=Allowed(vector_stores=frozenset())),
        replace(ANNA, allowed=Allowed(agents=frozenset({"a"}))),
    ],
)
def test_who_may_see_something_else_has_another_key(other: object) -> None:
    assert cache_key(other, "m", "?") != cache_key(ANNA, "m", "?")


def test_equal_requests_have_one_key() -> None:
    colleague = replace(ANNA, client="colleague", end_user="bora")
    asked, same = {"a": 1, "b": [2]}, {"b": [2], "a": 1}
    assert cache_key(ANNA, "m", asked) == cache_key(colleague, "m", same)
    assert cache_key(ANNA, "m", asked) != cache_key(ANNA, "n", asked)
    assert cache_key(ANNA, "m", asked) != cache_key(ANNA, "m", asked | {"a": 2})


async def test_the_oldest_go_when_it_is_full(client: "redis.asyncio.Redis") -> None:
    kept = ResponseCache(client, BOX, CacheSettings(max_bytes=1000))
    keys = [cache_key(ANNA, "m", number) for number in range(12)]
    for key in keys:
        await kept.keep(key, answer("x" * 100), 60)
    found = [await kept.find(key) is not None for key in keys]
    assert found[-1]
    assert not found[0]
    assert found == sorted(found)
    held = [len(await client.get(key) or b"") for key in keys]
    assert sum(held) <= 1000
    assert int(await client.get("naru:cache:total")) == sum(held)


async def test_an_answer_that_is_too_long_is_not_kept(client: "redis.asyncio.Redis") -> None:
    kept = ResponseCache(client, BOX, CacheSettings(max_answer_bytes=50))
    await kept.keep(key := cache_key(ANNA, "m", "?"), answer("x" * 60), 60)
    assert await kept.find(key) is None


async def test_without_redis_nothing_is_found_and_nothing_fails(
    monkeypatch: pytest.MonkeyPatch, redis_url: str
) -> None:
    monkeypatch.setattr(cache, "_REST_S", 600.0)
    async with redis.asyncio.from_url("redis://127.0.0.1:9") as away:
        kept = ResponseCache(away, BOX, CacheSettings())
        key = cache_key(ANNA, "m", "?")
        await kept.keep(key, answer(), 60)
        assert await kept.find(key) is None
        assert await kept.find(key) is None, "it rests"
