"""An agent's turn: history, search, verdict, model or quotes, checked citations, one commit."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import asyncpg
import msgspec

from config.agents import AgentSettings
from config.scope import TenantScope
from config.settings import SessionSettings
from gateway.agents.discreet import DiscreetAgent
from gateway.agents.draft import AgentAnswer, Draft, Prepared, Question
from gateway.agents.prepare import Preparer
from gateway.agents.registry import Agent
from gateway.agents.trace import note_verdict, trace_of
from gateway.errors import GatewayError
from gateway.generation.models import Models
from gateway.generation.target import Payloads, Served
from gateway.govern.masking.masking import Masking
from gateway.openai.traces import TurnTrace
from gateway.sessions.store import Sessions, Turn
from rag import Embedders, Reranker, Retrieval


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

    def __init__(  # noqa: PLR0913 - what every turn is made with
        self,
        pool: asyncpg.Pool,
        embedders: Embedders,
        models: Models,
        sessions: Sessions,
        settings: SessionSettings,
        reranker: Reranker | None = None,
        limits: AgentSettings | None = None,
        *,
        masking: Masking,
    ) -> None:
        limits = limits or AgentSettings()
        self._preparer = Preparer(pool, embedders, models, settings, limits, reranker)
        self._embedder = embedders.default
        self._sessions = sessions
        self._masking = masking

    async def answer(self, scope: TenantScope, agent: Agent, question: Question) -> AgentAnswer:
        """Answer at once and store the turn."""
        draft = await self._answered(scope, await self._preparer.prepare(scope, agent, question))
        answer = await self._settle(scope, draft, complete=True)
        return await self._discreet(scope, agent).answer(answer)

    async def replay(
        self, scope: TenantScope, agent: Agent, question: Question, before: int
    ) -> tuple[AgentAnswer, TurnTrace]:
        """Answer a question of a session as it was before a place in it; store nothing."""
        prepared = await self._preparer.prepare(scope, agent, question, before=before)
        draft = await self._answered(scope, prepared)
        answer = draft.answer()
        trace = trace_of(prepared, answer, draft.removed)
        return await self._discreet(scope, agent).answer(answer), trace

    async def stream(self, scope: TenantScope, agent: Agent, question: Question) -> LiveAnswer:
        """Begin to answer; errors before the first content are raised here."""
        prepared = await self._preparer.prepare(scope, agent, question)
        draft = Draft(prepared, self._embedder)
        payloads = None
        if prepared.prompt:
            stream = await self._preparer.target(scope, agent.definition).stream(prepared.prompt)
            draft.take_served(stream)
            payloads = stream.payloads
        parts = self._discreet(scope, agent).parts(self._parts(scope, draft, payloads))
        return LiveAnswer(prepared.retrieval, draft.served, parts)

    def _discreet(self, scope: TenantScope, agent: Agent) -> DiscreetAgent:
        return DiscreetAgent(self._masking, scope, agent.name, agent.definition.model)

    async def _answered(self, scope: TenantScope, prepared: Prepared) -> Draft:
        draft = Draft(prepared, self._embedder)
        if prepared.prompt:
            target = self._preparer.target(scope, prepared.agent.definition)
            completion = await target.complete(prepared.prompt)
            draft.take_served(completion)
            await draft.take_completion(completion.body)
        await draft.finish()
        return draft

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

    async def _settle(self, scope: TenantScope, draft: Draft, *, complete: bool) -> AgentAnswer:
        if not complete:
            await draft.break_off()
        prepared, answer = draft.prepared, draft.answer()
        question = prepared.question
        trace = trace_of(prepared, answer, draft.removed)
        note_verdict(trace)
        if question.session_id is not None:
            told = await self._discreet(scope, draft.prepared.agent).answer(answer)
            turn = Turn(
                message_id=answer.message_id,
                agent=prepared.agent.name,
                question=question.text,
                answer=answer.text,
                model=answer.model,
                references=answer.references,
                usage=answer.usage,
                complete=complete,
                trace=trace,
                told=msgspec.json.encode(told),
            )
            await self._sessions.add_turn(scope, question.session_id, turn)
        return answer
