"""An agent's turn: history, search, verdict, model or quotes, checked citations, one commit."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import asyncpg

from config.scope import TenantScope
from config.settings import SessionSettings
from gateway.agents.definition import AgentDefinition
from gateway.agents.discreet import DiscreetAgent
from gateway.agents.draft import AgentAnswer, Draft, Prepared, Question
from gateway.agents.prompt import ChatMessage, build_messages, trim
from gateway.agents.registry import Agent
from gateway.agents.rewrite import rewrite
from gateway.errors import GatewayError, UpstreamError
from gateway.generation.models import Models
from gateway.generation.target import (
    Payloads,
    Prompt,
    Served,
    Target,
)
from gateway.govern.masking.masking import Masking
from gateway.sessions.store import Sessions, Turn
from rag import Embedders, Reranker, Retrieval, assess, search


@dataclass(frozen=True, slots=True)
class LiveAnswer:
    """A turn under way: `parts` yields the text, then the whole `AgentAnswer`.

    The consumer must `aclose()` it; leaving early stores the turn as partial.
    """

    retrieval: Retrieval
    served: Served
    parts: AsyncGenerator["str | AgentAnswer", None]


class Agents:
    """Runs turns; one per process."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        embedders: Embedders,
        models: Models,
        sessions: Sessions,
        settings: SessionSettings,
        reranker: Reranker | None = None,
        *,
        masking: Masking,
    ) -> None:
        self._pool = pool
        self._embedders = embedders
        self._reranker = reranker
        self._models = models
        self._sessions = sessions
        self._settings = settings
        self._masking = masking

    async def answer(self, scope: TenantScope, agent: Agent, question: Question) -> AgentAnswer:
        """Answer at once and store the turn."""
        prepared = await self._prepare(scope, agent, question)
        draft = Draft(prepared, self._embedders.default)
        if prepared.prompt:
            completion = await self._target(scope, agent.definition).complete(prepared.prompt)
            draft.take_served(completion)
            await draft.take_completion(completion.body)
        await draft.finish()
        answer = await self._settle(scope, draft, complete=True)
        return await self._discreet(scope, agent).answer(answer)

    async def stream(self, scope: TenantScope, agent: Agent, question: Question) -> LiveAnswer:
        """Begin to answer; errors before the first content are raised here."""
        prepared = await self._prepare(scope, agent, question)
        draft = Draft(prepared, self._embedders.default)
        payloads = None
        if prepared.prompt:
            stream = await self._target(scope, agent.definition).stream(prepared.prompt)
            draft.take_served(stream)
            payloads = stream.payloads
        parts = self._discreet(scope, agent).parts(self._parts(scope, draft, payloads))
        return LiveAnswer(prepared.retrieval, draft.served, parts)

    def _discreet(self, scope: TenantScope, agent: Agent) -> DiscreetAgent:
        return DiscreetAgent(self._masking, scope, agent.name, agent.definition.model)

    async def _parts(
        self,
        scope: TenantScope,
        draft: Draft,
        payloads: Payloads | None,
    ) -> AsyncGenerator[str | AgentAnswer, None]:
        complete = False
        try:
            if payloads:
                async for payload in payloads:
                    if text := await draft.take_chunk(payload):
                        yield text
            if rest := await draft.finish():
                yield rest
            complete = True
        except GatewayError:
            if rest := await draft.break_off():
                yield rest
            raise
        finally:
            if payloads:
                await payloads.aclose()
            # Shielded: a caller that leaves must not lose the turn.
            settling = asyncio.ensure_future(self._settle(scope, draft, complete=complete))
            answer = await asyncio.shield(settling)
        yield answer

    async def _prepare(self, scope: TenantScope, agent: Agent, question: Question) -> Prepared:
        definition = agent.definition
        history = await self._history(scope, question)
        earlier = [message["content"] for message in history if message["role"] == "user"]
        retrieval = await search(
            self._pool,
            self._embedders,
            _as_agent(scope, definition),
            definition.vector_stores,
            rewrite(question.text, earlier),
            k=definition.top_k,
            reranker=self._reranker,
        )
        threshold = definition.answer.threshold
        if not (await assess(retrieval, self._embedders.default, threshold)).answerable:
            return Prepared(agent, question, retrieval, None)
        instructions = "\n\n".join([definition.instructions, *question.instructions])
        messages = build_messages(instructions, retrieval.passages, history, question.text)
        fields = {"messages": messages, **question.sampling}
        prompt = Prompt(
            fields,
            include_usage=True,
            retrieval=retrieval,
            tenant=scope.tenant,
            affinity=question.session_id,
            local_only=question.local_only or definition.residency == "local",
            agent=definition.name,
        )
        return Prepared(agent, question, retrieval, prompt)

    async def _history(self, scope: TenantScope, question: Question) -> list[ChatMessage]:
        stored: list[ChatMessage] = []
        if question.session_id is not None:
            stored = [*await self._sessions.history(scope, question.session_id)]
        return trim([*stored, *question.given], self._settings.history_tokens)

    def _target(self, scope: TenantScope, agent: AgentDefinition) -> Target:
        target = self._models.find(_as_agent(scope, agent), agent.model)
        if target is None:
            raise UpstreamError(
                f"agent `{agent.name}` names the model `{agent.model}`, which the settings lack",
                code="agent_model_missing",
            )
        return target

    async def _settle(self, scope: TenantScope, draft: Draft, *, complete: bool) -> AgentAnswer:
        if not complete:
            await draft.break_off()
        answer = draft.answer()
        question = draft.prepared.question
        if question.session_id is not None:
            turn = Turn(
                message_id=answer.message_id,
                agent=draft.prepared.agent.name,
                question=question.text,
                answer=answer.text,
                model=answer.model,
                references=answer.references,
                usage=answer.usage,
                complete=complete,
            )
            await self._sessions.add_turn(scope, question.session_id, turn)
        return answer


def _as_agent(scope: TenantScope, agent: AgentDefinition) -> TenantScope:
    """Who may ask an agent reaches through it what the agent is made of."""
    return scope.as_agent(frozenset(agent.vector_stores))
