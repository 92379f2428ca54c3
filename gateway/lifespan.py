"""What a web worker opens at start and closes, in reverse, at its end."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import asyncpg
import redis.asyncio
from litestar.di import NamedDependency

from auth import AuthorizationServer, SigningKeys, Verifier
from auth.admin.desk import Desk
from config.settings import ServerSettings, Settings
from config.sync import SyncSettings
from gateway.agents.run import Agents
from gateway.agents.turns import Turns
from gateway.generation.embeddings import Embeddings
from gateway.generation.http1 import HttpClient
from gateway.generation.models import Models
from gateway.generation.replicas import Replicas, look_at_engines, open_engines
from gateway.govern.audit import AuditLog
from gateway.govern.budgets_admin import BudgetDesk
from gateway.govern.governor import Governor
from gateway.govern.limits_store import LimitRules
from gateway.govern.masking.masking import Masking
from gateway.governance import Governance, Stores, open_governance, open_stores
from gateway.identity import open_identity
from gateway.media import Media
from gateway.observe.process import process_name
from gateway.observe.publishing import Published, look_at_pools, shared_in
from gateway.observe.tracing import Tracing
from gateway.responses.opening import Means, Responses, open_responses
from gateway.sessions.conversations import Conversations
from gateway.sessions.store import Sessions
from gateway.sessions.turns import TurnStore
from rag import Embedders, Reranker, Storage, open_embedders, open_reranker, open_storage


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
    masking: Masking
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
    metrics: Published
    engines: Mapping[str, Sequence[str]]
    starting: Path | None


Provided = NamedDependency[Services]
"""A handler's parameter `services`."""


@dataclass(frozen=True, slots=True)
class _Generation:
    embedders: Embedders
    reranker: Reranker | None
    models: Models
    media: Media


@dataclass(frozen=True, slots=True)
class _Talks:
    sessions: Sessions
    conversations: Conversations
    agents: Agents
    turns: Turns
    masking: Masking


@asynccontextmanager
async def open_services(
    settings: Settings,
    sockets: Path,
    *,
    engines: Mapping[str, Sequence[str]],
    starting: Path | None,
    tracing: Tracing,
) -> AsyncIterator[Services]:
    """Open the stores and the clients of the other processes.

    `sockets` is the folder where the embedding and reranking workers listen.
    """
    async with AsyncExitStack() as stack:
        stores = await open_stores(stack, settings)
        identity = await stack.enter_async_context(
            open_identity(settings.auth, settings.issuer, stores.box, stores.url, stores.redis)
        )
        readers = _open_readers(stack, settings, sockets)
        replicas = await stack.enter_async_context(
            open_engines(settings.engines, engines, stores.box.salt_key)
        )
        governance = await open_governance(stack, settings, stores, tracing)
        generation = await _open_generation(stack, settings, replicas, readers, governance)
        talks = _open_talks(stack, settings, stores, generation, governance)
        storage = open_storage(settings.files)
        responses = await _open_responses(stack, settings, stores, storage, generation, talks)
        looks = [
            *(look_at_pools(stores.pool), governance.look, generation.models.look),
            lambda: look_at_engines(replicas),
        ]
        metrics = Published(shared_in(sockets), process_name(), looks)
        await stack.enter_async_context(metrics.publishing())
        yield Services(
            issuer=settings.issuer,
            limits=settings.server,
            sync=settings.sync,
            pool=stores.pool,
            storage=storage,
            redis=stores.redis,
            keys=identity.keys,
            desk=identity.desk,
            authorization=identity.authorization,
            verifier=identity.verifier,
            embedders=generation.embedders,
            reranker=generation.reranker,
            governor=governance.governor,
            masking=governance.masking,
            gpu_hour_usd=settings.ledger.gpu_hour_usd,
            budgets=governance.budgets,
            models=generation.models,
            embeddings=Embeddings(
                settings.embedding, generation.embedders.default, settings.models
            ),
            media=generation.media,
            sessions=talks.sessions,
            limit_rules=governance.limit_rules,
            agents=talks.agents,
            turns=talks.turns,
            conversations=talks.conversations,
            responses=responses,
            audit=governance.audit,
            metrics=metrics,
            engines=engines,
            starting=starting,
        )


def _open_readers(
    stack: AsyncExitStack, settings: Settings, sockets: Path
) -> tuple[Embedders, Reranker | None]:
    embedders = open_embedders(settings.embedding, sockets)
    stack.push_async_callback(embedders.close)
    reranker = open_reranker(settings.reranker, sockets)
    if reranker:
        stack.push_async_callback(reranker.close)
    return embedders, reranker


async def _open_generation(
    stack: AsyncExitStack,
    settings: Settings,
    replicas: Mapping[str, Replicas],
    readers: tuple[Embedders, Reranker | None],
    governance: Governance,
) -> _Generation:
    http = await stack.enter_async_context(HttpClient())
    embedders, reranker = readers
    models = Models(
        settings.models,
        settings.providers,
        replicas,
        http,
        embedders.default,
        governance.governor,
        governance.masking,
    )
    media = Media(settings.media)
    stack.push_async_callback(media.close)
    return _Generation(embedders, reranker, models, media)


def _open_talks(
    stack: AsyncExitStack,
    settings: Settings,
    stores: Stores,
    generation: _Generation,
    governance: Governance,
) -> _Talks:
    days = settings.sessions.retention_days
    kept = None if days is None else timedelta(days=days)
    replayed = timedelta(seconds=settings.sessions.replay_s)
    masking = governance.masking
    sessions = Sessions(stores.pool, kept, replayed, masking=masking)
    agents = Agents(
        stores.pool,
        generation.embedders,
        generation.models,
        sessions,
        settings.sessions,
        generation.reranker,
        settings.agents,
        governor=governance.governor,
        masking=masking,
    )
    turn_store = TurnStore(stores.pool, settings.sessions, kept, masking)
    turns = Turns(agents, turn_store, settings.sessions)
    stack.push_async_callback(turns.close)
    conversations = Conversations(stores.pool, kept, masking=masking)
    return _Talks(sessions, conversations, agents, turns, masking)


async def _open_responses(
    stack: AsyncExitStack,
    settings: Settings,
    stores: Stores,
    storage: Storage,
    generation: _Generation,
    talks: _Talks,
) -> Responses:
    means = Means(
        url=stores.url,
        pool=stores.pool,
        storage=storage,
        embedders=generation.embedders,
        reranker=generation.reranker,
        models=generation.models,
        media=generation.media,
        turns=talks.turns,
        conversations=talks.conversations,
        masking=talks.masking,
    )
    return await stack.enter_async_context(
        open_responses(means, settings.responses, settings.server, settings.media)
    )
