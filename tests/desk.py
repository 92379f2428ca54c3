"""Agents in this process, over a real store, with a model that plays what a test wants."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg
from aiohttp import web
from govern_support import Noting
from knowledge import fill
from support import scope_of
from upstream_support import Upstream, json_answer

import rag
from config.agents import AgentSettings
from config.masking import MaskingSettings
from config.scope import TenantScope
from config.settings import SessionSettings
from config.targets import LadderSettings, ProviderSettings
from gateway.agents.definition import AgentDefinition
from gateway.agents.draft import AgentAnswer, Question
from gateway.agents.registry import Agent
from gateway.agents.run import Agents
from gateway.agents.turns import Turns
from gateway.generation.http1 import HttpClient
from gateway.generation.models import Models
from gateway.govern.masking.masking import Masking
from gateway.openai.traces import TurnTrace
from gateway.sessions.store import Sessions
from gateway.sessions.traces import find_trace
from gateway.sessions.turns import TurnStore
from rag import Embedders
from rag.testing import InMemoryEmbedder, InMemoryReranker

APP = scope_of("acme", "app", "agents")
HANDBOOK = {
    "휴가.md": (
        "# 연차\n\n연차 휴가는 연간 15일이다. 3년 차부터는 연차 휴가가 16일로 늘어난다.\n\n"
        "# 병가\n\n병가는 연간 10일까지 유급으로 사용할 수 있다. 진단서는 인사팀에 낸다."
    ),
    "Expenses.md": (
        "# Expenses\n\nTravel expenses are reimbursed within 30 days after the receipts are handed "
        "in. Receipts go to the finance team in Busan.\n\n# Office\n\nThe office opens at eight."
    ),
}

Plays = Callable[[str], str]
"""What the model says to the last message."""


@dataclass
class Desk:
    """What the tests of turns stand on.

    Attributes:
        asked: The bodies that the model was sent, by what it was to do.
    """

    pool: asyncpg.Pool
    embedder: InMemoryEmbedder
    reranker: InMemoryReranker
    upstream: Upstream
    agents: Agents
    turns: Turns
    governor: Noting
    store: str
    asked: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def agent(self, model: str = "smart", **policies: Any) -> Agent:
        """An agent of the store; `stores` names others."""
        stores = policies.pop("stores", (self.store,))
        return Agent(AgentDefinition("hr", "Be brief.", model, stores, **policies), 0)

    def plays(self, answer: str, *, rewriting: str = "", summary: str = "") -> None:
        """Let the model say these; '' for its part is an answer that is cut off."""
        self.asked.clear()

        async def say(request: web.Request) -> web.StreamResponse:
            body: dict[str, Any] = self.upstream.asked[-1]
            task = body["messages"][0]["content"]
            kind, text = "answer", answer
            if task.startswith("You get a conversation"):
                kind, text = "rewriting", rewriting
            elif task.startswith("Summarize the conversation"):
                kind, text = "summary", summary
            self.asked.setdefault(kind, []).append(body)
            return await _said(request, text, stream=bool(body.get("stream")))

        self.upstream.answer = say

    async def ask(
        self,
        text: str,
        session: str | None = None,
        agent: Agent | None = None,
        scope: TenantScope = APP,
        **more: Any,
    ) -> AgentAnswer:
        question = Question(text, session, **more)
        return await self.turns.answer(scope, agent or self.agent(), question)

    async def trace(self, session: str, answer: AgentAnswer) -> TurnTrace:
        found = await find_trace(self.pool, APP, session, answer.message_id)
        assert found
        return found


async def _said(request: web.Request, text: str, *, stream: bool) -> web.StreamResponse:
    if not stream:
        choice = {
            "message": {"content": text or "…"},
            "finish_reason": "stop" if text else "length",
        }
        return await json_answer(json.dumps({"choices": [choice]}).encode())
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    parts = [text[at : at + 3] for at in range(0, len(text), 3)]
    chunks = [{"choices": [{"delta": {"content": part}}]} for part in parts]
    chunks.append({"choices": [{"delta": {}, "finish_reason": "stop"}]})
    for chunk in chunks:
        await response.write(f"data: {json.dumps(chunk)}\n\n".encode())
    await response.write(b"data: [DONE]\n\n")
    return response


@asynccontextmanager
async def open_desk(
    pool: asyncpg.Pool, upstream: Upstream, limits: AgentSettings | None = None
) -> AsyncIterator[Desk]:
    """Open it on a database that has the client `app` of `acme`."""
    embedder, reranker, governor = InMemoryEmbedder(), InMemoryReranker(), Noting()
    providers = {"fake": ProviderSettings.model_validate({"base_url": upstream.url})}
    ladders = {"smart": ["fake/gpt-x", "extractive"], "words": ["extractive"]}
    aliases = {
        name: LadderSettings.model_validate({"targets": targets})
        for name, targets in ladders.items()
    }
    async with HttpClient() as http:
        masking = Masking(MaskingSettings(), bytes(32))
        models = Models(aliases, providers, {}, http, embedder, governor, masking)
        agents = Agents(
            pool,
            Embedders(embedder),
            models,
            Sessions(pool),
            SessionSettings(),
            reranker,
            limits or AgentSettings(),
            governor=governor,
            masking=masking,
        )
        store = (await rag.create_store(pool, APP, name="handbook")).id
        await fill(pool, embedder, store, HANDBOOK)
        settings = SessionSettings()
        turns = Turns(agents, TurnStore(pool, settings, None), settings)
        yield Desk(pool, embedder, reranker, upstream, agents, turns, governor, store)
        await turns.close()
    await governor.close()
    masking.close()
