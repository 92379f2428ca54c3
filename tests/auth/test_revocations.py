"""What one process records another knows, in whatever order it was committed."""

import asyncio
import datetime as dt
import socket
from collections.abc import AsyncIterator

import asyncpg
import pytest
import redis.asyncio

import auth
from auth.revocations import (
    CHANNEL,
    Revocations,
    record_client,
    record_key,
    record_token,
)
from auth.token import AccessToken


def claims(jti: str = "t1", client: str = "demo", generation: int = 0) -> AccessToken:
    return AccessToken("i", "a", client, client, 0, 0, jti, "", "acme", generation=generation)


def later(seconds: float = 900) -> dt.datetime:
    return dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds)


@pytest.fixture
def revocations(pool: asyncpg.Pool) -> Revocations:
    return Revocations(pool)


async def test_a_token_is_revoked_alone(pool: asyncpg.Pool, revocations: Revocations) -> None:
    await record_token(pool, "t1", later())
    await record_token(pool, "t1", later())
    assert not revocations.revoked(claims())
    await revocations.refresh()
    assert revocations.revoked(claims())
    assert not revocations.revoked(claims("t2"))


async def test_a_clients_tokens_are_revoked_by_generation(
    pool: asyncpg.Pool, revocations: Revocations
) -> None:
    await record_client(pool, "demo", 2)
    await revocations.refresh()
    assert [revocations.revoked(claims(generation=number)) for number in (0, 1, 2, 3)] == [
        *(True, True, False, False)
    ]
    assert not revocations.revoked(claims(client="other"))
    await record_client(pool, "demo", 1)  # a transaction that was overtaken
    await revocations.refresh()
    assert revocations.revoked(claims(generation=1))


async def test_what_was_looked_up_before_a_change_is_known_to_be_old(
    pool: asyncpg.Pool, revocations: Revocations
) -> None:
    mark = revocations.mark
    await record_key(pool, "key-1")
    await record_client(pool, "demo", 1)
    await revocations.refresh()
    assert revocations.changed(mark, "other", "key-1")
    assert revocations.changed(mark, "demo", None)
    assert not revocations.changed(mark, "other", "key-2")
    mark = revocations.mark
    await revocations.refresh()
    assert not revocations.changed(mark, "demo", "key-1")
    await record_key(pool, "key-1")
    await revocations.refresh()
    assert revocations.changed(mark, "other", "key-1")


async def test_a_transaction_that_commits_late_is_not_missed(
    pool: asyncpg.Pool, revocations: Revocations
) -> None:
    async with pool.acquire() as slow:
        transaction = slow.transaction()
        await transaction.start()
        await record_token(slow, "late", later())
        await record_token(pool, "quick", later())
        await revocations.refresh()
        assert revocations.revoked(claims("quick"))
        assert not revocations.revoked(claims("late"))
        await transaction.commit()
    await revocations.refresh()
    assert revocations.revoked(claims("late"))


async def test_a_look_reads_only_what_is_new(
    pool: asyncpg.Pool, revocations: Revocations, monkeypatch: pytest.MonkeyPatch
) -> None:
    await record_token(pool, "old", later())
    await revocations.refresh()
    learned: list[str] = []
    monkeypatch.setattr(revocations, "_learn", lambda row: learned.append(row["subject"]))
    await record_token(pool, "new", later())
    await revocations.refresh()
    assert learned == ["new"]


async def test_a_rolled_back_revocation_is_none(
    pool: asyncpg.Pool, revocations: Revocations
) -> None:
    async with pool.acquire() as con:
        transaction = con.transaction()
        await transaction.start()
        await record_client(con, "demo", 1)
        await transaction.rollback()
    await revocations.refresh()
    assert not revocations.revoked(claims())


async def test_a_server_restored_from_before_hides_nothing(
    pool: asyncpg.Pool, revocations: Revocations
) -> None:
    revocations._horizon = str(2**40)
    await record_token(pool, "t1", later())
    await revocations.refresh()
    assert revocations.revoked(claims())


async def test_what_expired_is_cleared_here_and_in_the_store(
    pool: asyncpg.Pool, revocations: Revocations
) -> None:
    await record_token(pool, "dead", later(-3600))
    await record_token(pool, "alive", later())
    await revocations.refresh()
    await pool.execute("UPDATE revocations SET expires_at = now() WHERE subject = 'dead'")
    for name, ends in (("used", later(-1)), ("fresh", later())):
        await pool.execute("INSERT INTO used_once VALUES ($1, $2)", name.encode(), ends)
    await revocations.clear()
    assert [row["subject"] for row in await pool.fetch("TABLE revocations")] == ["alive"]
    assert [row["hash"] for row in await pool.fetch("TABLE used_once")] == [b"fresh"]
    assert len(revocations._known) == 1


@pytest.fixture
async def cache(redis_url: str) -> AsyncIterator[redis.asyncio.Redis]:
    async with redis.asyncio.from_url(redis_url) as client:
        yield client


async def test_an_announcement_is_heard(cache: redis.asyncio.Redis) -> None:
    async with cache.pubsub(ignore_subscribe_messages=True) as heard:
        await heard.subscribe(CHANNEL)
        await heard.get_message(timeout=1)
        await auth.Announcer(cache).announce()
        assert await heard.get_message(timeout=1)


async def test_an_announcement_without_redis_neither_raises_nor_waits() -> None:
    await auth.Announcer(None).announce()
    gone = redis.asyncio.from_url("redis://127.0.0.1:9")
    async with asyncio.timeout(1):
        await auth.Announcer(gone).announce()
    await gone.aclose()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host, port = silent.getsockname()
        hanging = redis.asyncio.from_url(f"redis://{host}:{port}")
        async with asyncio.timeout(1):
            await auth.Announcer(hanging).announce()
        await hanging.aclose()
