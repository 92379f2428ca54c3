"""What a web worker opens for responses, and closes at its end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg

from config.media import MediaSettings
from config.postgres import open_pool
from config.settings import ResponseSettings, ServerSettings
from config.tasks import end_task
from gateway.agents.turns import Turns
from gateway.generation.models import Models
from gateway.govern.masking.masking import Masking
from gateway.media import Media
from gateway.responses.agent import AgentAnswers
from gateway.responses.background import Background
from gateway.responses.model import ModelAnswers
from gateway.responses.run import Responder
from gateway.responses.store import ResponseStore
from gateway.responses.uploads import Uploads
from gateway.sessions.conversations import Conversations
from rag import Embedders, Reranker, Storage
from rag.parse.apart import open_parser


@dataclass(frozen=True, slots=True)
class Responses:
    """Everything that the routes of responses call."""

    store: ResponseStore
    responder: Responder
    background: Background
    uploads: Uploads


@dataclass(frozen=True, slots=True)
class Means:
    """What responses are made with; opened and closed elsewhere.

    Attributes:
        url: The database that `pool` is of.
        masking: Says what may be stored.
    """

    url: str
    pool: asyncpg.Pool
    storage: Storage
    embedders: Embedders
    reranker: Reranker | None
    models: Models
    media: Media
    turns: Turns
    conversations: Conversations
    masking: Masking


@asynccontextmanager
async def open_responses(
    means: Means, settings: ResponseSettings, limits: ServerSettings, media: MediaSettings
) -> AsyncIterator[Responses]:
    """Take part in the work of the background until the context ends."""
    pool = means.pool
    async with (
        open_parser() as parser,
        await open_pool(means.url, size=1, role="naru_jobs") as jobs,
    ):
        store = ResponseStore(pool, settings, means.masking)
        uploads = Uploads(pool, means.storage, parser, media)
        by_model = ModelAnswers(
            pool,
            means.embedders,
            means.media,
            uploads,
            reranker=means.reranker,
            max_choices=limits.max_choices,
        )
        responder = Responder(
            store,
            means.conversations,
            means.models,
            by_model,
            AgentAnswers(means.turns, max_chars=limits.max_message_chars),
            means.turns.queue,
        )
        background = Background(store, responder, jobs, settings)
        working = asyncio.create_task(background.run())
        try:
            yield Responses(store, responder, background, uploads)
        finally:
            await end_task(working)
