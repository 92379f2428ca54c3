"""What a web worker opens at start and closes, in reverse, at its end."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import aiohttp
import asyncpg
import redis.asyncio
from litestar.di import NamedDependency

from auth import AuthorizationServer, SecretBox, SigningKeys, Verifier
from auth.admin.desk import Desk
from config.postgres import open_pool
from config.settings import ServerSettings, Settings
from config.sync import SyncSettings
from gateway.agents.run import Agents
from gateway.agents.turns import Turns
from gateway.generation.embeddings import Embeddings
from gateway.generation.models import Models
from gateway.generation.replicas import Replicas, open_engines
from gateway.govern.audit import AuditLog
from gateway.govern.budgets import Budgets
from gateway.govern.budgets_admin import BudgetDesk
from gateway.govern.budgets_store import PostgresBank
from gateway.govern.cache import ResponseCache
from gateway.govern.governor import Governor
from gateway.govern.guardrails.guardrails import Guardrails
from gateway.govern.ledger import open_ledger
from gateway.govern.limits_store import LimitRules
from gateway.govern.limits_watch import open_limits
from gateway.govern.masking.masking import Masking
from gateway.govern.money import Money
from gateway.govern.prices import Rates
from gateway.identity import open_identity
from gateway.media import Media
from gateway.responses.opening import Means, Responses, open_responses
from gateway.sessions.conversations import Conversations
from gateway.sessions.store import Sessions
from gateway.sessions.turns import TurnStore
from rag import Embedders, Reranker, Storage, open_embedders, open_reranker, open_storage

_BANK_CONNECTIONS = 2


@dataclass(frozen=True, slots=True)
class Services:
    """Everything a route may call.

    Attributes:
        sync: What may be read from outside, and by whom.
        pool: Works as `naru_app`: one tenant's rows at a time.
        engines: Where the engines that the parent process started listen, by name.
        gpu_hour_usd: What an hour of our own engines costs, where that was said.
        starting: A file that is there until every one of them was up once.
    """

    issuer: str
    limits: ServerSettings
    sync: SyncSettings
    pool: asyncpg.Pool
    storage: Storage
    redis: "redis.asyncio.Redis"
    keys: SigningKeys
    desk: Desk
    authorization: AuthorizationServer
    verifier: Verifier
    embedders: Embedders
    reranker: Reranker | None
    governor: Governor
    gpu_hour_usd: float | None
    budgets: BudgetDesk
    models: Models
    embeddings: Embeddings
    media: Media
    sessions: Sessions
    limit_rules: LimitRules
    agents: Agents
    turns: Turns
    conversations: Conversations
    responses: Responses
    audit: AuditLog
    engines: Mapping[str, Sequence[str]]
    starting: Path | None


Provided = NamedDependency[Services]
"""A handler's parameter `services`."""


@asynccontextmanager
async def open_services(
    settings: Settings,
    sockets: Path,
    *,
    engines: Mapping[str, Sequence[str]],
    starting: Path | None,
) -> AsyncIterator[Services]:
    """Open the stores and the clients of the other processes.

    `sockets` is the folder where the embedding and reranking workers listen.
    """
    if settings.database.url is None or settings.redis.url is None:
        raise RuntimeError("a web worker is started by `naru serve`, which names the stores")
    async with AsyncExitStack() as stack:
        url = settings.database.url.get_secret_value()
        pool = await stack.enter_async_context(
            await open_pool(url, size=settings.database.pool_size)
        )
        cache = _open_redis(stack, settings.redis.url.get_secret_value())
        box = SecretBox.load(settings.auth, settings.data_dir)
        identity = await stack.enter_async_context(
            open_identity(settings.auth, settings.issuer, box, url, cache)
        )
        audit = AuditLog(pool, box.audit_key)
        await stack.enter_async_context(audit.writing())
        embedders, reranker = _open_readers(stack, settings, sockets)
        replicas = await stack.enter_async_context(
            open_engines(settings.engines, engines, box.salt_key)
        )
        ledger = await stack.enter_async_context(
            open_ledger(settings.ledger, settings.data_dir, url)
        )
        limits = await stack.enter_async_context(
            open_limits(
                settings.limits,
                cache,
                database_url=url,
                redis_url=settings.redis.url.get_secret_value(),
                pool=pool,
                pseudonym=box.pseudonym,
                workers=settings.server.workers,
            )
        )
        money, budgets = await _open_money(stack, settings, url)
        calls = audit if settings.audit.calls else None
        answers = ResponseCache(cache, box, settings.cache)
        guardrails = Guardrails(settings.guardrails)
        stack.callback(guardrails.close)
        governor = Governor(ledger, calls, limits.limiter, answers, money, guardrails)
        stack.push_async_callback(governor.close)
        masking = Masking(settings.masking, box.masking_key)
        stack.callback(masking.close)
        models = await _open_models(stack, settings, replicas, embedders, governor, masking)
        media = Media(settings.media)
        stack.push_async_callback(media.close)
        days = settings.sessions.retention_days
        kept = None if days is None else timedelta(days=days)
        replayed = timedelta(seconds=settings.sessions.replay_s)
        sessions = Sessions(pool, kept, replayed, masking=masking)
        conversations = Conversations(pool, kept)
        agents = Agents(
            pool,
            embedders,
            models,
            sessions,
            settings.sessions,
            reranker,
            settings.agents,
            masking=masking,
        )
        turn_store = TurnStore(pool, settings.sessions, kept, masking)
        turns = Turns(agents, turn_store, settings.sessions)
        stack.push_async_callback(turns.close)
        storage = open_storage(settings.files)
        means = Means(
            url=url,
            pool=pool,
            storage=storage,
            embedders=embedders,
            reranker=reranker,
            models=models,
            media=media,
            turns=turns,
            conversations=conversations,
            sessions_kept=kept,
        )
        responses = await stack.enter_async_context(
            open_responses(means, settings.responses, settings.server, settings.media)
        )
        yield Services(
            issuer=settings.issuer,
            limits=settings.server,
            sync=settings.sync,
            pool=pool,
            storage=storage,
            redis=cache,
            keys=identity.keys,
            desk=identity.desk,
            authorization=identity.authorization,
            verifier=identity.verifier,
            embedders=embedders,
            reranker=reranker,
            governor=governor,
            gpu_hour_usd=settings.ledger.gpu_hour_usd,
            budgets=budgets,
            models=models,
            embeddings=Embeddings(settings.embedding, embedders.default, settings.models),
            media=media,
            sessions=sessions,
            limit_rules=limits.rules,
            agents=agents,
            turns=turns,
            conversations=conversations,
            responses=responses,
            audit=audit,
            engines=engines,
            starting=starting,
        )


def _open_redis(stack: AsyncExitStack, url: str) -> "redis.asyncio.Redis":
    opened = redis.asyncio.from_url(url, socket_timeout=1.0, socket_connect_timeout=1.0)
    stack.push_async_callback(opened.aclose)
    return opened


def _open_readers(
    stack: AsyncExitStack, settings: Settings, sockets: Path
) -> tuple[Embedders, Reranker | None]:
    embedders = open_embedders(settings.embedding, sockets)
    stack.push_async_callback(embedders.close)
    reranker = open_reranker(settings.reranker, sockets)
    if reranker:
        stack.push_async_callback(reranker.close)
    return embedders, reranker


async def _open_money(
    stack: AsyncExitStack, settings: Settings, url: str
) -> tuple[Money, BudgetDesk]:
    pool = await stack.enter_async_context(
        await open_pool(url, size=_BANK_CONNECTIONS, role="naru_jobs")
    )
    budgets = Budgets(PostgresBank(pool))
    await stack.enter_async_context(budgets.keeping())
    rates = Rates(settings.prices, settings.providers)
    return Money(rates, budgets, settings.budgets), BudgetDesk(pool)


async def _open_models(
    stack: AsyncExitStack,
    settings: Settings,
    replicas: Mapping[str, Replicas],
    embedders: Embedders,
    governor: Governor,
    masking: Masking,
) -> Models:
    http = await stack.enter_async_context(
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
    )
    return Models(
        settings.models,
        settings.providers,
        replicas,
        http,
        embedders.default,
        governor,
        masking,
    )
