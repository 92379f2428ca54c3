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
from gateway.govern.charge import ABSTAINED, Charge
from gateway.govern.governor import Governor
from gateway.govern.masking.masking import Masking
from gateway.observe.invoking import invoking
from gateway.openai.chat import Usage
from gateway.openai.traces import TurnTrace
from gateway.sessions.store import Sessions, Turn
from rag import Embedders, Reranker, Retrieval


@dataclass(frozen=True, slots=True)
class LiveAnswer:
    """A turn under way: `parts` yields the text, then the whole `AgentAnswer`.

    The consumer must `aclose()` it; leaving early stores the turn as partial. However it ends, its
    account is settled then.
    """

    retrieval: Retrieval
    served: Served
    parts: AsyncGenerator["str | AgentAnswer", None]


class Agents:
    """Runs turns, each on one account; one per process."""

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
        governor: Governor,
        masking: Masking,
    ) -> None:
        limits = limits or AgentSettings()
        self._preparer = Preparer(pool, embedders, models, settings, limits, reranker)
        self._governor = governor
        self._embedder = embedders.default
        self._sessions = sessions
        self._masking = masking

    async def answer(self, scope: TenantScope, agent: Agent, question: Question) -> AgentAnswer:
        """Answer at once and store the turn."""
        charge = self._charge(scope, agent, question, stream=False)
        async with self._governor.governing(charge):
            with invoking(agent.name, agent.version):
                prepared = await self._preparer.prepare(charge, agent, question)
                draft = await self._answered(scope, prepared)
                answer = await self._store(charge, draft, complete=True)
        return await self._discreet(scope, prepared, kept=question.kept).answer(answer)

    async def replay(
        self, scope: TenantScope, agent: Agent, question: Question, before: int
    ) -> tuple[AgentAnswer, TurnTrace]:
        """Answer a question of a session as it was before a place in it; store nothing."""
        charge = self._charge(scope, agent, question, stream=False)
        async with self._governor.governing(charge):
            prepared = await self._preparer.prepare(charge, agent, question, before=before)
            draft = await self._answered(scope, prepared)
            answer = draft.answer(_usage(charge))
            trace = trace_of(prepared, answer, draft.removed)
            _note_abstention(charge, trace)
        return await self._discreet(scope, prepared, kept=False).answer(answer), trace

    async def stream(self, scope: TenantScope, agent: Agent, question: Question) -> LiveAnswer:
        """Begin to answer; errors before the first content are raised here."""
        charge = self._charge(scope, agent, question, stream=True)
        async with self._governor.opening(charge):
            with invoking(agent.name, agent.version):
                prepared = await self._preparer.prepare(charge, agent, question)
                draft = Draft(prepared, self._embedder)
                payloads = None
                if prepared.prompt:
                    target = self._preparer.target(scope, agent.definition)
                    stream = await target.stream(prepared.prompt)
                    draft.take_served(stream)
                    payloads = stream.payloads
                    charge.note_first_token()
            parts = self._parts(charge, draft, payloads)
            # What has begun is closed by the event loop where its consumer has nothing to close.
            await anext(parts)
        discreet = self._discreet(scope, prepared, kept=question.kept)
        found = await discreet.retrieval(prepared.retrieval)
        return LiveAnswer(found, draft.served, discreet.parts(parts))

    def _charge(
        self, scope: TenantScope, agent: Agent, question: Question, *, stream: bool
    ) -> Charge:
        asked = self._preparer.asked(agent, question, stream=stream)
        return Charge(scope, asked, agent_version=agent.version)

    def _discreet(self, scope: TenantScope, prepared: Prepared, *, kept: bool) -> DiscreetAgent:
        agent, passages = prepared.agent, prepared.passages
        model = agent.definition.model
        return DiscreetAgent(self._masking, scope, agent.name, model, passages, kept=kept)

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
        self, charge: Charge, draft: Draft, payloads: Payloads | None
    ) -> AsyncGenerator[str | AgentAnswer, None]:
        """Yield nothing, then the turn's parts."""
        complete = False
        try:
            yield ""
            if payloads:
                async for payload in payloads:
                    if text := await draft.take_chunk(payload):
                        yield text
            if rest := await draft.finish():
                yield rest
            complete = True
        except GatewayError as error:
            charge.end(error)
            if rest := await draft.break_off():
                yield rest
            raise
        except BaseException as error:
            charge.end(error)
            raise
        finally:
            # Shielded: a caller that leaves must not lose the turn.
            ending = asyncio.ensure_future(self._end(charge, draft, payloads, complete=complete))
            answer = await asyncio.shield(ending)
        yield answer

    async def _end(
        self, charge: Charge, draft: Draft, payloads: Payloads | None, *, complete: bool
    ) -> AgentAnswer:
        async with self._governor.settling(charge):
            if payloads:
                await payloads.aclose()
            return await self._store(charge, draft, complete=complete)

    async def _store(self, charge: Charge, draft: Draft, *, complete: bool) -> AgentAnswer:
        if not complete:
            await draft.break_off()
        scope, prepared, answer = charge.scope, draft.prepared, draft.answer(_usage(charge))
        question = prepared.question
        trace = trace_of(prepared, answer, draft.removed)
        note_verdict(trace)
        if question.session_id is not None:
            discreet = self._discreet(scope, prepared, kept=True)
            told = await discreet.answer(answer)
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
                asks=prepared.agent.definition.model,
                known=await discreet.known(),
            )
            await self._sessions.add_turn(scope, question.session_id, turn)
        if complete:
            _note_abstention(charge, trace)
        return answer


def _usage(charge: Charge) -> Usage:
    """Return what all took that the turn asked, as its record will say."""
    asked = sum(attempt.usage.prompt_tokens for attempt in charge.attempts)
    said = sum(attempt.usage.completion_tokens for attempt in charge.attempts)
    return Usage(prompt_tokens=asked, completion_tokens=said, total_tokens=asked + said)


def _note_abstention(charge: Charge, trace: TurnTrace) -> None:
    if trace.abstained and not trace.answered_without_sources:
        charge.ending = ABSTAINED
