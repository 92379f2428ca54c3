"""A turn before its answer: history, a question of its own, the search, the verdict, the prompt."""

import logging
from collections.abc import Awaitable, Sequence
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
from gateway.generation.judging import Occasion
from gateway.generation.models import Models
from gateway.generation.target import Prompt, Target
from gateway.govern.charge import Asked, Charge
from gateway.observe.searching import searched
from gateway.openai.tokens import estimate_tokens
from gateway.sessions.recall import Recalled, keep_summary, recall
from rag import (
    Embedders,
    NotFound,
    Reranker,
    Retrieval,
    SearchOptions,
    assess,
    search,
)

_log = logging.getLogger(__name__)

_PASSAGE_TOKENS = 400
"""What a passage may take, for who reserves before there are any."""


@dataclass(frozen=True, slots=True)
class Preparer:
    """What every turn of a process is prepared with."""

    pool: asyncpg.Pool
    embedders: Embedders
    models: Models
    sessions: SessionSettings
    limits: AgentSettings
    reranker: Reranker | None

    def asked(self, agent: Agent, question: Question, *, stream: bool) -> Asked:
        """Return what a turn may take, as far as can be known before anything is looked up."""
        definition, sampling = agent.definition, question.sampling
        said = [definition.instructions, *question.instructions, question.text]
        bounds = Bounds.of(definition.history, self.sessions.history_tokens)
        given = sum(estimate_tokens(message["content"]) for message in question.given)
        history = bounds.tokens if question.session_id is not None else min(given, bounds.tokens)
        passages = min(definition.top_k * _PASSAGE_TOKENS, self.limits.passage_tokens)
        return Asked(
            "agent",
            agent.name,
            prompt_bytes=sum(len(each.encode("utf-8", "replace")) for each in said),
            max_tokens=sampling.get("max_completion_tokens") or sampling.get("max_tokens"),
            stream=stream,
            alias=definition.model,
            context_tokens=history + passages,
        )

    async def prepare(
        self, charge: Charge, agent: Agent, question: Question, *, before: int | None = None
    ) -> Prepared:
        """Return the turn of the account's caller, ready for generation.

        With `before` the session is taken as it was before that place in it, and left as it is.

        Raises:
            UpstreamError: The settings lack the agent's model.
            NotFound: None of the agent's vector stores is there any more.
            InvalidRequest: A guardrail blocks the question.
        """
        definition = agent.definition
        question = await self._judged(charge, definition, question)
        history = await self._history(charge, agent, question, before)
        aside = self._aside(charge, definition, question, self.limits.rewrite_timeout_s)
        asked = await stand_alone(question.text, history, aside)
        retrieval = await self._search(charge.scope, definition, asked.text, history)
        kept = _within(retrieval, self.limits.passage_tokens)
        kept, question = await self._screened(charge, definition, kept, question)
        threshold = definition.answer.threshold
        verdict = await assess(kept, self.embedders.default, threshold, until_answerable=True)
        prepared = Prepared(agent, question, retrieval, None, kept, history, asked, verdict)
        if not verdict.answerable and definition.answer.without_sources == "abstain":
            return prepared
        return replace(prepared, prompt=_prompt(charge, prepared))

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

    async def _judged(self, charge: Charge, agent: AgentDefinition, question: Question) -> Question:
        occasion = _occasion(charge, agent, question)
        found = await self.models.judging.look(occasion, question.words)
        found.check()
        local_only = question.local_only or found.stays
        return replace(question, verdicts=found.said, local_only=local_only)

    async def _screened(
        self, charge: Charge, agent: AgentDefinition, found: Retrieval, question: Question
    ) -> tuple[Retrieval, Question]:
        """Leave out the passages that a guardrail blocks."""
        judging, occasion = self.models.judging, _occasion(charge, agent, question)
        if not judging.judges(occasion, "passages"):
            return found, question
        found, stays = await judging.screened(occasion, found)
        return found, replace(question, local_only=question.local_only or stays)

    async def _history(
        self, charge: Charge, agent: Agent, question: Question, before: int | None
    ) -> History:
        scope, policy, recalled = charge.scope, agent.definition.history, Recalled([], "")
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
        return await self._summarized(charge, agent, question, recalled, history, bounds)

    async def _summarized(
        self,
        charge: Charge,
        agent: Agent,
        question: Question,
        recalled: Recalled,
        history: History,
        bounds: Bounds,
    ) -> History:
        """Return the history with a summary of all that is not in it, and keep that."""
        timeout_s = self.limits.summary_timeout_s
        aside = self._aside(charge, agent.definition, question, timeout_s)
        stored = [{"role": said.role, "content": said.content} for said in recalled.messages]
        kept = trim(stored, bounds.half)
        fallen = len(stored) - len(kept)
        summary = await summarize(aside, recalled.summary, stored[:fallen]) if aside else ""
        if not summary or question.session_id is None:
            return history
        up_to = recalled.messages[fallen - 1].ordinal
        await keep_summary(self.pool, charge.scope, question.session_id, summary, up_to)
        return replace(history, messages=kept, summary=summary, fallen=fallen)

    def _aside(
        self, charge: Charge, agent: AgentDefinition, question: Question, timeout_s: float
    ) -> Aside | None:
        """Return how to ask the agent's model beside the turn; None where it has none."""
        if not timeout_s or not self.models.speaks(agent.model):
            return None
        local_only = question.local_only or agent.residency == "local"
        target = self.target(charge.scope, agent)
        return Aside(target, timeout_s, charge, agent.name, question.session_id, local_only)

    async def _search(
        self, scope: TenantScope, agent: AgentDefinition, question: str, history: History
    ) -> Retrieval:
        """Search the agent's stores; one that was deleted is left out while there is another."""
        stores = agent.vector_stores
        while True:
            try:
                return await searched(self._searching(scope, agent, stores, question, history))
            except NotFound as gone:
                left = tuple(store for store in stores if store != gone.id)
                if not left or left == stores:
                    raise
                _log.warning("agent %s is without its vector store %s", agent.name, gone.id)
                stores = left

    def _searching(
        self,
        scope: TenantScope,
        agent: AgentDefinition,
        stores: Sequence[str],
        question: str,
        history: History,
    ) -> Awaitable[Retrieval]:
        policy = agent.retrieval
        options = SearchOptions(
            score_threshold=policy.score_threshold,
            dense_weight=policy.dense_weight,
            rerank=None if policy.rerank else False,
        )
        return search(
            self.pool,
            self.embedders,
            _as_agent(scope, agent),
            stores,
            question,
            k=agent.top_k,
            options=options,
            reranker=self.reranker,
            also=history.places,
        )


def _occasion(charge: Charge, agent: AgentDefinition, question: Question) -> Occasion:
    local_only = question.local_only or agent.residency == "local"
    return Occasion(charge, (agent.name, agent.model), local_only)


def _within(found: Retrieval, budget: int) -> Retrieval:
    """Leave out the passages behind those that fit into so many tokens; the first always does."""
    kept = 0
    for passage in found.passages:
        budget -= estimate_tokens(passage.content)
        if budget < 0 and kept:
            break
        kept += 1
    return replace(found, passages=found.passages[:kept])


def _prompt(charge: Charge, prepared: Prepared) -> Prompt:
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
        tenant=charge.scope.tenant,
        affinity=question.session_id,
        local_only=question.local_only or definition.residency == "local",
        charge=charge,
        agent=definition.name,
        verdicts=question.verdicts,
    )


def _as_agent(scope: TenantScope, agent: AgentDefinition) -> TenantScope:
    """Who may ask an agent reaches through it what the agent is made of."""
    return scope.as_agent(frozenset(agent.vector_stores))
