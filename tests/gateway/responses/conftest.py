"""Several processes' worth of background work over one database and a scripted upstream."""

from collections.abc import AsyncIterator, Callable

import asyncpg
import pytest
from upstream_support import Upstream, play_upstream

from config.masking import MaskingSettings
from config.media import MediaSettings
from config.postgres import open_pool
from config.settings import ResponseSettings, SessionSettings
from config.targets import ProviderSettings
from gateway.agents.run import Agents
from gateway.agents.turns import Turns
from gateway.generation.http1 import HttpClient
from gateway.generation.models import Models
from gateway.govern.governor import Governor
from gateway.govern.masking.masking import Masking
from gateway.media import Media
from gateway.responses.agent import AgentAnswers
from gateway.responses.background import Background
from gateway.responses.model import ModelAnswers
from gateway.responses.run import Responder
from gateway.responses.store import ResponseStore
from gateway.responses.uploads import Uploads
from gateway.sessions.conversations import Conversations
from gateway.sessions.store import Sessions
from gateway.sessions.turns import TurnStore
from rag import Embedders
from rag.parse.apart import open_parser
from rag.storage import IN_POSTGRES
from rag.testing import InMemoryEmbedder

Worker = Callable[..., Background]
NewResponder = Callable[..., tuple[Responder, ResponseStore]]


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """The hosted API that provider `fake` means."""
    async with play_upstream() as playing:
        yield playing


@pytest.fixture
async def new_responder(pool: asyncpg.Pool) -> AsyncIterator[NewResponder]:
    """Make what answers, in front of the hosted API at `url`, which is provider `fake`."""
    async with HttpClient() as http, open_parser() as parser:

        def make(
            url: str, settings: ResponseSettings | None = None, **timeouts: float
        ) -> tuple[Responder, ResponseStore]:
            provider = ProviderSettings.model_validate({"base_url": url, **timeouts})
            embedder = InMemoryEmbedder()
            masking, governor = Masking(MaskingSettings()), Governor()
            models = Models({}, {"fake": provider}, {}, http, embedder, governor, masking)
            store, media = ResponseStore(pool, settings or ResponseSettings()), MediaSettings()
            sessions = Sessions(pool)
            agents = Agents(
                *(pool, Embedders(embedder), models, sessions, SessionSettings()),
                governor=governor,
                masking=masking,
            )
            by_model = ModelAnswers(
                pool,
                Embedders(embedder),
                Media(media),
                Uploads(pool, IN_POSTGRES, parser, media),
                reranker=None,
                max_choices=1,
            )
            turns = Turns(agents, TurnStore(pool, SessionSettings(), None), SessionSettings())
            by_agent = AgentAnswers(turns, max_chars=1000)
            conversations = Conversations(pool)
            responder = Responder(store, conversations, models, by_model, by_agent, turns.queue)
            return responder, store

        yield make


@pytest.fixture
async def new_worker(
    empty_database: str, upstream: Upstream, new_responder: NewResponder
) -> AsyncIterator[Worker]:
    """Make a web worker's part in the background, with its settings."""
    async with await open_pool(empty_database, size=2, role="naru_jobs") as jobs:

        def make(**settings: float) -> Background:
            given = ResponseSettings.model_validate(settings)
            responder, store = new_responder(upstream.url, given)
            return Background(store, responder, jobs, given)

        yield make
