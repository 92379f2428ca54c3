"""Keeps the limits of a process true to PostgreSQL: at once when told so, within 2 s without."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import asyncpg
import redis.asyncio

from config.announcements import Announcements, Announcer
from config.limits import LimitsSettings
from config.postgres import open_pool
from config.tasks import end_task
from gateway.govern.limits import Limiter
from gateway.govern.limits_redis import Counters
from gateway.govern.limits_rules import Rules, default_rules
from gateway.govern.limits_script import open_counting
from gateway.govern.limits_store import CHANNEL, KnownRules, LimitRules

_POLL_S = 1.5
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """What lets requests in, and the rules that it follows."""

    limiter: Limiter
    rules: LimitRules


@asynccontextmanager
async def open_limits(
    settings: LimitsSettings,
    cache: "redis.asyncio.Redis",
    *,
    database_url: str,
    redis_url: str,
    pool: asyncpg.Pool,
    pseudonym: Callable[[str], bytes],
    workers: int,
) -> AsyncIterator[Limits]:
    """Open what lets requests in; the rules of now are known on entry.

    Args:
        settings: What applies where a tenant has no rule.
        cache: Hears of changes.
        database_url: Where the rules are.
        redis_url: Where the counters are.
        pool: Works as `naru_app`.
        pseudonym: Returns what stands for a name in Redis.
        workers: How many processes there are at least.

    Raises:
        asyncpg.PostgresError, asyncpg.InterfaceError, OSError: The first look at the rules failed.
            Later ones that fail are logged, and what was known stays in force.
    """
    async with AsyncExitStack() as stack:
        everyone = await stack.enter_async_context(
            await open_pool(database_url, size=2, role="naru_jobs")
        )
        known = KnownRules(everyone)
        counting = open_counting(redis_url)
        stack.push_async_callback(counting.aclose)
        limiter = Limiter(
            Rules(default_rules(settings), await known.refresh() or {}, pseudonym),
            Counters(counting),
            assumed_answer_tokens=settings.assumed_answer_tokens,
            workers=workers,
        )
        announcements = Announcements(cache, CHANNEL)
        stack.push_async_callback(announcements.close)
        watching = asyncio.create_task(_watch(known, announcements, limiter))
        stack.push_async_callback(end_task, watching)
        await stack.enter_async_context(limiter.running())
        yield Limits(limiter, LimitRules(pool, everyone, Announcer(cache, CHANNEL)))


async def _watch(known: KnownRules, announcements: Announcements, limiter: Limiter) -> None:
    current = True
    while True:
        await announcements.wait(_POLL_S)
        try:
            tenants = await known.refresh()
        except Exception as error:  # noqa: BLE001 - without this task no rule changes any more
            if current:
                _log.warning("limits can't be read: %s", type(error).__name__)
            current = False
            continue
        if not current:
            _log.info("limits are read again")
        current = True
        if tenants is not None:
            old = limiter.rules
            limiter.rules = Rules(old.defaults, tenants, old.pseudonym)
