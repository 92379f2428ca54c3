"""`auth.once`: a value counts a single time, whoever sees it first."""

import asyncio
import datetime as dt

import asyncpg

from auth.once import first_use


def in_seconds(seconds: float) -> dt.datetime:
    return dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds)


async def test_of_many_at_once_one_is_the_first(pool: asyncpg.Pool) -> None:
    uses = [first_use(pool, "jti-1", in_seconds(60)) for _ in range(20)]
    assert sorted(await asyncio.gather(*uses)) == [False] * 19 + [True]


async def test_values_do_not_hinder_each_other(pool: asyncpg.Pool) -> None:
    assert await first_use(pool, "a", in_seconds(60))
    assert await first_use(pool, "b", in_seconds(60))


async def test_an_expired_value_may_be_used_again(pool: asyncpg.Pool) -> None:
    assert await first_use(pool, "a", in_seconds(-1))
    assert await first_use(pool, "a", in_seconds(60))
    assert not await first_use(pool, "a", in_seconds(60))


async def test_the_value_itself_is_not_kept(pool: asyncpg.Pool) -> None:
    await first_use(pool, "a secret jti", in_seconds(60))
    assert b"a secret jti" not in bytes(await pool.fetchval("SELECT hash FROM used_once"))
