"""An agent's turn: history, search, verdict, model or quotes, checked citations, one commit."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from config.scope import TenantScope
from config.settings import SessionSettings
from gateway.agents.citations import Citations, reference
from gateway.agents.prompt import ChatMessage, build_messages, not_found, trim
from gateway.agents.registry import AgentDefinition
from gateway.agents.rewrite import rewrite
from gateway.errors import UpstreamError
from gateway.generation import extractive
from gateway.generation.models import Models
from gateway.generation.target import (
    Comment,
    Completion,
    Payloads,
    Prompt,
    Served,
    Stream,
    Target,
    view_chunk,
    view_completion,
)
from gateway.generation.usage import TokenUsage
from gateway.openai.chat import Usage
from gateway.openai.references import Reference
from gateway.openai.tokens import estimate_tokens
from gateway.sessions.store import Sessions, Turn, new_message_id
from rag import Embedders, Reranker, Retrieval, judge, search


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of an agent.

    Attributes:
        text: The user's message.
        session_id: The conversation it belongs to, or None to keep none.
        given: Earlier messages that the caller sent along, without instructions.
        instructions: What the caller adds to the agent's own.
        sampling: OpenAI sampling fields for the model.
        local_only: Never send it to a model that is not our own.
        message_id: What the answer's message is called.
    """

    text: str
    session_id: str | None = None
    given: Sequence[ChatMessage] = ()
    instructions: Sequence[str] = ()
    sampling: dict[str, Any] = field(default_factory=dict)
    local_only: bool = False
    message_id: str = field(default_factory=new_message_id)


@dataclass(frozen=True, slots=True)
class AgentAnswer:
    """A finished turn. `answered` is False when the documents do not hold the answer."""

    message_id: str
    text: str
    references: list[Reference]
    model: str
    usage: Usage
    finish_reason: str
    answered: bool
    served: Served


@dataclass(frozen=True, slots=True)
class LiveAnswer:
    """A turn under way: `parts` yields the text, then the whole `AgentAnswer`.

    The consumer must `aclose()` it; leaving early stores the turn as partial.
    """

    retrieval: Retrieval
    served: Served
    parts: AsyncGenerator["str | AgentAnswer", None]


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A turn before generation; `prompt` is None where nothing in the documents answers it."""

    agent: AgentDefinition
    question: Question
    retrieval: Retrieval
    prompt: Prompt | None


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
    ) -> None:
        self._pool = pool
        self._embedders = embedders
        self._reranker = reranker
        self._models = models
        self._sessions = sessions
        self._settings = settings

    async def answer(
        self, scope: TenantScope, agent: AgentDefinition, question: Question
    ) -> AgentAnswer:
        """Answer at once and store the turn."""
        prepared = await self._prepare(scope, agent, question)
        draft = _Draft(prepared)
        if prepared.prompt:
            completion = await self._target(scope, agent).complete(prepared.prompt)
            draft.take_served(completion)
            draft.take_completion(completion.body)
        draft.finish()
        return await self._settle(scope, draft, complete=True)

    async def stream(
        self, scope: TenantScope, agent: AgentDefinition, question: Question
    ) -> LiveAnswer:
        """Begin to answer; errors before the first content are raised here."""
        prepared = await self._prepare(scope, agent, question)
        draft = _Draft(prepared)
        payloads = None
        if prepared.prompt:
            stream = await self._target(scope, agent).stream(prepared.prompt)
            draft.take_served(stream)
            payloads = stream.payloads
        parts = self._parts(scope, draft, payloads)
        return LiveAnswer(prepared.retrieval, draft.served, parts)

    async def _parts(
        self,
        scope: TenantScope,
        draft: "_Draft",
        payloads: Payloads | None,
    ) -> AsyncGenerator[str | AgentAnswer, None]:
        complete = False
        try:
            if payloads:
                async for payload in payloads:
                    if text := draft.take_chunk(payload):
                        yield text
            if rest := draft.finish():
                yield rest
            complete = True
        finally:
            if payloads:
                await payloads.aclose()
            # Shielded: a caller that leaves must not lose the turn.
            settling = asyncio.ensure_future(self._settle(scope, draft, complete=complete))
            answer = await asyncio.shield(settling)
        yield answer

    async def _prepare(
        self, scope: TenantScope, agent: AgentDefinition, question: Question
    ) -> _Prepared:
        history = await self._history(scope, question)
        earlier = [message["content"] for message in history if message["role"] == "user"]
        retrieval = await search(
            self._pool,
            self._embedders,
            _as_agent(scope, agent),
            agent.vector_stores,
            rewrite(question.text, earlier),
            k=agent.top_k,
            reranker=self._reranker,
        )
        if not judge(retrieval).answerable:
            return _Prepared(agent, question, retrieval, None)
        instructions = "\n\n".join([agent.instructions, *question.instructions])
        messages = build_messages(instructions, retrieval.passages, history, question.text)
        fields = {"messages": messages, **question.sampling}
        prompt = Prompt(
            fields,
            include_usage=True,
            retrieval=retrieval,
            tenant=scope.tenant,
            affinity=question.session_id,
            local_only=question.local_only or agent.residency == "local",
        )
        return _Prepared(agent, question, retrieval, prompt)

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

    async def _settle(self, scope: TenantScope, draft: "_Draft", *, complete: bool) -> AgentAnswer:
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


class _Draft:
    """An answer while it grows."""

    def __init__(self, prepared: _Prepared) -> None:
        self.prepared = prepared
        self.served = Served(target=extractive.NAME)
        self._usage = TokenUsage()
        self._citations = Citations(len(prepared.retrieval.passages))
        self._text: list[str] = []
        self._finish_reason = "stop"

    def take_served(self, answered: Completion | Stream) -> None:
        """Take who answers; the usage is final when a stream is closed."""
        self.served = Served(
            target=answered.target, attempts=answered.attempts, reason=answered.reason
        )
        self._usage = answered.usage

    def take_completion(self, body: bytes) -> None:
        """Take a whole completion."""
        completion = view_completion(body)
        for choice in completion.choices[:1]:
            self._finish_reason = choice.finish_reason or "stop"
            self._text.append(self._citations.feed(choice.message.content or ""))

    def take_chunk(self, payload: bytes) -> str:
        """Take a chunk and return the text that is final with it."""
        if isinstance(payload, Comment):
            return ""
        chunk = view_chunk(payload)
        for choice in chunk.choices[:1]:
            self._finish_reason = choice.finish_reason or self._finish_reason
        text = self._citations.feed(chunk.content)
        self._text.append(text)
        return text

    def finish(self) -> str:
        """Return what was held back; where there is no text at all, the honest answer."""
        rest = self._citations.finish()
        if not rest and not any(part.strip() for part in self._text):
            rest = not_found(self.prepared.question.text)
        self._text.append(rest)
        return rest

    def answer(self) -> AgentAnswer:
        """Return the answer as it stands."""
        text = "".join(self._text)
        passages = self.prepared.retrieval.passages
        cited = [passages[index] for index in self._citations.cited]
        return AgentAnswer(
            message_id=self.prepared.question.message_id,
            text=text,
            references=[reference(n, passage) for n, passage in enumerate(cited, start=1)],
            model=self.served.target,
            usage=self._tokens(text),
            finish_reason=self._finish_reason,
            answered=bool(cited),
            served=self.served,
        )

    def _tokens(self, text: str) -> Usage:
        told = self._usage
        if told.total_tokens:
            return Usage(told.prompt_tokens, told.completion_tokens, told.total_tokens)
        asked = estimate_tokens(self.prepared.question.text)
        said = estimate_tokens(text)
        return Usage(prompt_tokens=asked, completion_tokens=said, total_tokens=asked + said)


def _as_agent(scope: TenantScope, agent: AgentDefinition) -> TenantScope:
    """Who may ask an agent reaches through it what the agent is made of."""
    return scope.as_agent(frozenset(agent.vector_stores))
