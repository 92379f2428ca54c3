"""A web worker's stores, and what governs its requests."""

from contextlib import AsyncExitStack
from dataclasses import dataclass

import asyncpg
import redis.asyncio

from auth import SecretBox
from config.postgres import open_pool
from config.settings import Settings
from gateway.govern.audit import AuditLog
from gateway.govern.budgets import Budgets
from gateway.govern.budgets_admin import BudgetDesk
from gateway.govern.budgets_store import PostgresBank
from gateway.govern.cache import ResponseCache
from gateway.govern.governor import Governor
from gateway.govern.guardrails.guardrails import Guardrails
from gateway.govern.ledger import Ledger, open_ledger
from gateway.govern.limits_store import LimitRules
from gateway.govern.limits_watch import open_limits
from gateway.govern.masking.masking import Masking
from gateway.govern.money import Money
from gateway.govern.prices import Rates
from gateway.observe import metrics
from gateway.observe.labels import Targets
from gateway.observe.recording import Recorder
from gateway.observe.tracing import Tracing

_BANK_CONNECTIONS = 2


@dataclass(frozen=True, slots=True)
class Stores:
    """Where things are kept, and the keys of what is kept."""

    url: str
    redis_url: str
    pool: asyncpg.Pool
    redis: "redis.asyncio.Redis"
    box: SecretBox


@dataclass(frozen=True, slots=True)
class Governance:
    """What every request passes."""

    governor: Governor
    masking: Masking
    audit: AuditLog
    budgets: BudgetDesk
    limit_rules: LimitRules
    ledger: Ledger

    def look(self) -> None:
        """Set the gauges of what waits to be written down for good."""
        metrics.JOURNAL_BACKLOG.set(self.ledger.waiting)
        metrics.JOURNAL_BACKLOG_BYTES.set(self.ledger.waiting_bytes)


async def open_stores(stack: AsyncExitStack, settings: Settings) -> Stores:
    """Open PostgreSQL as `naru_app`, and Redis.

    Raises:
        RuntimeError: This process was not started by `naru serve`.
    """
    if settings.database.url is None or settings.redis.url is None:
        raise RuntimeError("a web worker is started by `naru serve`, which names the stores")
    url = (settings.database.pooler_url or settings.database.url).get_secret_value()
    redis_url = settings.redis.url.get_secret_value()
    pool = await stack.enter_async_context(await open_pool(url, size=settings.database.pool_size))
    opened = redis.asyncio.from_url(redis_url, socket_timeout=1.0, socket_connect_timeout=1.0)
    stack.push_async_callback(opened.aclose)
    box = SecretBox.load(settings.auth, settings.data_dir)
    return Stores(url, redis_url, pool, opened, box)


async def open_governance(
    stack: AsyncExitStack, settings: Settings, stores: Stores, tracing: Tracing
) -> Governance:
    """Open limits, money, ledger, audit, guardrails and masks."""
    audit = AuditLog(stores.pool, stores.box.audit_key)
    await stack.enter_async_context(audit.writing())
    audited = stores.box.audit_key if settings.audit.calls else None
    ledger = await stack.enter_async_context(
        open_ledger(settings.ledger, settings.data_dir, stores.url, audit_key=audited)
    )
    limits = await stack.enter_async_context(
        open_limits(
            settings.limits,
            stores.redis,
            database_url=stores.url,
            redis_url=stores.redis_url,
            pool=stores.pool,
            pseudonym=stores.box.pseudonym,
            workers=settings.server.workers,
        )
    )
    money, budgets = await _open_money(stack, settings, stores.url, ledger.name)
    answers = ResponseCache(stores.redis, stores.box, settings.cache)
    guardrails = Guardrails(settings.guardrails)
    stack.callback(guardrails.close)
    record = Recorder(Targets.of(settings), tracing).record
    governor = Governor(ledger, limits.limiter, answers, money, guardrails, record)
    stack.push_async_callback(governor.close)
    masking = Masking(settings.masking, stores.box.masking_key)
    stack.callback(masking.close)
    return Governance(governor, masking, audit, budgets, limits.rules, ledger)


async def _open_money(
    stack: AsyncExitStack, settings: Settings, url: str, owner: str
) -> tuple[Money, BudgetDesk]:
    pool = await stack.enter_async_context(
        await open_pool(url, size=_BANK_CONNECTIONS, role="naru_jobs")
    )
    budgets = Budgets(PostgresBank(pool), owner=owner)
    await stack.enter_async_context(budgets.keeping())
    rates = Rates(settings.prices, settings.providers)
    return Money(rates, budgets, settings.budgets), BudgetDesk(pool)
