"""Failures are counted where every replica sees them, and here when Redis is away."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis.asyncio

import auth
from auth import throttle

WHO = ("demo", "192.0.2.1")


@pytest.fixture
async def cache(redis_url: str) -> AsyncIterator["redis.asyncio.Redis"]:
    client = redis.asyncio.from_url(redis_url)
    await client.flushall()
    yield client
    await client.aclose()


async def test_replicas_count_together(cache: "redis.asyncio.Redis", box: auth.SecretBox) -> None:
    replicas = [auth.Throttle(cache, box), auth.Throttle(cache, box)]
    waits = [await replicas[turn % 2].count_failure(*WHO) for turn in range(32)]
    assert waits[:30] == [0] * 30
    assert all(1 <= wait <= 60 for wait in waits[30:])


async def test_clients_and_addresses_do_not_hinder_each_other(
    cache: "redis.asyncio.Redis", box: auth.SecretBox
) -> None:
    counting = auth.Throttle(cache, box)
    for _ in range(31):
        await counting.count_failure(*WHO)
    assert await counting.count_failure("demo", "192.0.2.2") == 0
    assert await counting.count_failure("dem", "o192.0.2.1") == 0


async def test_redis_learns_neither_names_nor_addresses(
    cache: "redis.asyncio.Redis", box: auth.SecretBox
) -> None:
    await auth.Throttle(cache, box).count_failure(*WHO)
    (key,) = await cache.keys("*")
    assert b"demo" not in key
    assert b"192.0.2.1" not in key
    assert 0 < await cache.ttl(key) <= 60


async def test_without_redis_this_process_counts(box: auth.SecretBox) -> None:
    away = redis.asyncio.from_url("unix:///nowhere/redis.sock")
    counting = auth.Throttle(away, box)
    waits = [await counting.count_failure(*WHO) for _ in range(31)]
    assert waits[:30] == [0] * 30
    assert waits[30] > 0
    await away.aclose()


async def test_a_redis_that_says_nothing_is_not_waited_for(
    box: auth.SecretBox, tmp_path: Path
) -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    path = str(tmp_path / "redis.sock")
    async with (
        await asyncio.start_unix_server(say_nothing, path),
        redis.asyncio.from_url(f"unix://{path}") as silent,
    ):
        counting, started = auth.Throttle(silent, box), time.monotonic()
        waits = [await counting.count_failure(*WHO) for _ in range(31)]
        assert time.monotonic() - started < 31 * 0.1
    assert waits[30] > 0


async def test_a_minute_later_failures_count_from_zero(
    box: auth.SecretBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = auth.Throttle(None, box)
    for _ in range(31):
        await counting.count_failure(*WHO)
    later = time.monotonic() + 61
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert await counting.count_failure(*WHO) == 0


async def test_who_waits_as_long_as_told_waited_long_enough(
    box: auth.SecretBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting, now = auth.Throttle(None, box), time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    for _ in range(30):
        await counting.count_failure(*WHO)
    monkeypatch.setattr(time, "monotonic", lambda: now + 0.7)
    assert await counting.count_failure(*WHO) == 60


async def test_what_this_process_remembers_is_bounded(
    box: auth.SecretBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttle, "_REMEMBERED", 3)
    counting = auth.Throttle(None, box)
    for number in range(10):
        await counting.count_failure(f"client-{number}", "")
    assert len(counting._local) == 3
