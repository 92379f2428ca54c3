"""A turn before its answer: history, a question of its own, the search, the verdict, the prompt."""

from dataclasses import dataclass, replace

import asyncpg

from config.agents import AgentSettings
from config.scope import TenantScope
from config.settings import SessionSettings
from gateway.agents.aside import Aside
from gateway.agents.definition import AgentDefinition
from gateway.agents.draft import Prepared, Question
from gateway.agents.follow_up import stand_alone
from gateway.agents.history import Bounds, History, last_places, summarize, trim
from gateway.agents.inert import inert
from gateway.agents.prompt import build_messages
from gateway.agents.registry import Agent
from gateway.errors import UpstreamError
from gateway.generation.models import Models
from gateway.generation.target import Prompt, Target
from gateway.observe.searching import searched
from gateway.openai.tokens import estimate_tokens
from gateway.sessions.recall import Recalled, keep_summary, recall
from rag import (
    Embedders,
    Reranker,
    Retrieval,
    SearchOptions,
    assess,
    search,
)


@dataclass(frozen=True, slots=True)
class Preparer:
    """What every turn of a process is prepared with."""

    pool: asyncpg.Pool
    embedders: Embedders
    models: Models
    sessions: SessionSettings
    limits: AgentSettings
    reranker: Reranker | None

    async def prepare(
        self, scope: TenantScope, agent: Agent, question: Question, *, before: int | None = None
    ) -> Prepared:
        """Return the turn, ready for generation.

        With `before` the session is taken as it was before that place in it, and left as it is.

        Raises:
            UpstreamError: The settings lack the agent's model.
            NotFound: One of the agent's vector stores is there no more.
            InvalidRequest: A guardrail blocks the question.
        """
        definition = agent.definition
        question = await self._judged(scope, definition, question)
        history = await self._history(scope, agent, question, before)
        aside = self._aside(scope, definition, question, self.limits.rewrite_timeout_s)
        asked = await stand_alone(question.text, history, aside)
        retrieval = await self._search(scope, definition, asked.text, history)
        kept = _within(retrieval, self.limits.passage_tokens)
        kept, question = await self._screened(scope, definition, kept, question)
        verdict = await assess(kept, self.embedders.default, definition.answer.threshold)
        prepared = Prepared(agent, question, retrieval, None, kept, history, asked, verdict)
        if not verdict.answerable and definition.answer.without_sources == "abstain":
            return prepared
        return replace(prepared, prompt=_prompt(scope, prepared))

    def target(self, scope: TenantScope, agent: AgentDefinition) -> Target:
        """Return what answers for an agent.

        Raises:
            UpstreamError: The settings lack it.
        """
        target = self.models.find(_as_agent(scope, agent), agent.model)
        if target is None:
            raise UpstreamError(
                f"agent `{agent.name}` names the model `{agent.model}`, which the settings lack",
                code="agent_model_missing",
            )
        return target

    async def _judged(
        self, scope: TenantScope, agent: AgentDefinition, question: Question
    ) -> Question:
        stays = question.local_only or agent.residency == "local"
        names = agent.name, agent.model
        found = await self.models.judged(scope, *names, question.words, local_only=stays)
        local_only = question.local_only or found.stays
        return replace(question, verdicts=found.said, local_only=local_only)

    async def _screened(
        self, scope: TenantScope, agent: AgentDefinition, found: Retrieval, question: Question
    ) -> tuple[Retrieval, Question]:
        """Leave out the passages that a guardrail blocks."""
        stays = question.local_only or agent.residency == "local"
        names = agent.name, agent.model
        found, stays = await self.models.screened(scope, *names, found, local_only=stays)
        return found, replace(question, local_only=question.local_only or stays)

    async def _history(
        self, scope: TenantScope, agent: Agent, question: Question, before: int | None
    ) -> History:
        policy, recalled = agent.definition.history, Recalled([], "")
        if question.session_id is not None:
            recalled = await recall(
                self.pool, scope, question.session_id, summarized=policy.summarize, before=before
            )
        bounds = Bounds.of(policy, self.sessions.history_tokens)
        stored = [{"role": said.role, "content": said.content} for said in recalled.messages]
        kept = trim([*stored, *question.given], bounds)
        fallen = max(0, len(stored) + len(question.given) - len(kept))
        history = History(kept, recalled.summary, last_places(recalled), fallen)
        lasting = question.session_id is not None and before is None and not question.given
        if not (policy.summarize and fallen and lasting):
            return history
        return await self._summarized(scope, agent, question, recalled, history, bounds)

    async def _summarized(
        self,
        scope: TenantScope,
        agent: Agent,
        question: Question,
        recalled: Recalled,
        history: History,
        bounds: Bounds,
    ) -> History:
        """Return the history with a summary of all that is not in it, and keep that."""
        timeout_s = self.limits.summary_timeout_s
        aside = self._aside(scope, agent.definition, question, timeout_s)
        stored = [{"role": said.role, "content": said.content} for said in recalled.messages]
        kept = trim(stored, bounds.half)
        fallen = len(stored) - len(kept)
        summary = await summarize(aside, recalled.summary, stored[:fallen]) if aside else ""
        if not summary or question.session_id is None:
            return history
        up_to = recalled.messages[fallen - 1].ordinal
        await keep_summary(self.pool, scope, question.session_id, summary, up_to)
        return replace(history, messages=kept, summary=summary, fallen=fallen)

    def _aside(
        self, scope: TenantScope, agent: AgentDefinition, question: Question, timeout_s: float
    ) -> Aside | None:
        """Return how to ask the agent's model beside the turn; None where it has none."""
        if not timeout_s or not self.models.speaks(agent.model):
            return None
        local_only = question.local_only or agent.residency == "local"
        target = self.target(scope, agent)
        whose = scope.tenant, agent.name, question.session_id
        return Aside(target, timeout_s, *whose, local_only)

    async def _search(
        self, scope: TenantScope, agent: AgentDefinition, question: str, history: History
    ) -> Retrieval:
        policy = agent.retrieval
        options = SearchOptions(
            score_threshold=policy.score_threshold,
            dense_weight=policy.dense_weight,
            rerank=None if policy.rerank else False,
        )
        searching = search(
            self.pool,
            self.embedders,
            _as_agent(scope, agent),
            agent.vector_stores,
            question,
            k=agent.top_k,
            options=options,
            reranker=self.reranker,
            also=history.places,
        )
        return await searched(searching)


def _within(found: Retrieval, budget: int) -> Retrieval:
    """Leave out the passages behind those that fit into so many tokens; the first always does."""
    kept = 0
    for passage in found.passages:
        budget -= estimate_tokens(passage.content)
        if budget < 0 and kept:
            break
        kept += 1
    return replace(found, passages=found.passages[:kept])


def _prompt(scope: TenantScope, prepared: Prepared) -> Prompt:
    question, definition = prepared.question, prepared.agent.definition
    orders = [definition.instructions, *map(inert, question.instructions)]
    messages = build_messages(
        "\n\n".join(orders),
        prepared.passages,
        prepared.history.messages,
        question.text,
        summary=prepared.history.summary,
    )
    return Prompt(
        {"messages": messages, **question.sampling},
        include_usage=True,
        retrieval=replace(prepared.kept, passages=tuple(prepared.passages)),
        threshold=prepared.verdict.threshold,
        tenant=scope.tenant,
        affinity=question.session_id,
        local_only=question.local_only or definition.residency == "local",
        agent=definition.name,
        verdicts=question.verdicts,
    )


def _as_agent(scope: TenantScope, agent: AgentDefinition) -> TenantScope:
    """Who may ask an agent reaches through it what the agent is made of."""
    return scope.as_agent(frozenset(agent.vector_stores))
