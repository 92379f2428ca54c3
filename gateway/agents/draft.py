"""One turn's question and its answer while that grows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.agents.citations import Citations
from gateway.agents.follow_up import StandAlone
from gateway.agents.history import History
from gateway.agents.links import Links
from gateway.agents.prompt import ChatMessage, not_found, without_sources
from gateway.agents.registry import Agent
from gateway.generation import extractive
from gateway.generation.target import (
    Comment,
    Completion,
    Prompt,
    Served,
    Stream,
    view_chunk,
    view_completion,
)
from gateway.openai.chat import Usage
from gateway.openai.references import Reference
from gateway.openai.traces import Removed
from gateway.sessions.store import new_message_id
from rag import Embedder, Passage, Retrieval, Verdict


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
        verdicts: What guardrails found in it; None where nobody looked yet.
        kept: The answer is kept for who asks for it again.
    """

    text: str
    session_id: str | None = None
    given: Sequence[ChatMessage] = ()
    instructions: Sequence[str] = ()
    sampling: dict[str, Any] = field(default_factory=dict)
    local_only: bool = False
    message_id: str = field(default_factory=new_message_id)
    verdicts: Mapping[str, str] | None = None
    kept: bool = False

    @property
    def words(self) -> dict[str, Any]:
        """Return what the caller says, as guardrails read it."""
        said = [{"role": "system", "content": each} for each in self.instructions]
        return {"message": self.text, "messages": [*said, *self.given]}


@dataclass(frozen=True, slots=True)
class AgentAnswer:
    """A finished turn. `answered` is False when the documents do not hold the answer.

    `index_version` names the indexes that were searched: a store that is read anew gets another.
    """

    message_id: str
    text: str
    references: list[Reference]
    model: str
    usage: Usage
    finish_reason: str
    answered: bool
    served: Served
    agent_version: int
    index_version: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """A turn before generation.

    Attributes:
        agent: Who answers.
        question: What it is asked.
        retrieval: What was found.
        prompt: None where nothing in the documents answers the question.
        kept: What of the retrieval fits into a prompt; it is judged.
        history: What was said before.
        asked: What was searched for.
        verdict: Whether the passages hold the answer.
    """

    agent: Agent
    question: Question
    retrieval: Retrieval
    prompt: Prompt | None
    kept: Retrieval
    history: History
    asked: StandAlone
    verdict: Verdict

    @property
    def passages(self) -> Sequence[Passage]:
        """Return what may be cited; nothing where the documents do not hold the answer."""
        return self.kept.passages if self.verdict.answerable else ()

    @property
    def lead(self) -> str:
        """Return what a model's answer begins with, to say where it does not come from."""
        unsourced = self.prompt and not self.passages
        return f"{without_sources(self.question.text)}\n\n" if unsourced else ""


class Draft:
    """An answer while it grows."""

    def __init__(self, prepared: Prepared, embedder: Embedder | None = None) -> None:
        self.prepared = prepared
        agent = prepared.agent
        self.served = Served(target=extractive.NAME, agent=agent.name, agent_version=agent.version)
        passages = prepared.passages
        self._citations = Citations(passages, embedder)
        self._links = Links(prepared.question.text, passages, self._citations.cited)
        self._text: list[str] = []
        self._finish_reason = "stop"

    def take_served(self, answered: Completion | Stream) -> None:
        """Take who answers."""
        self.served = replace(
            self.served,
            target=answered.target,
            attempts=answered.attempts,
            reason=answered.reason,
        )

    async def take_completion(self, body: bytes) -> None:
        """Take a whole completion."""
        completion = view_completion(body)
        for choice in completion.choices[:1]:
            self._finish_reason = choice.finish_reason or "stop"
            said = await self._citations.feed(_storable(choice.message.content or ""))
            self._say(self._links.feed(said))

    async def take_chunk(self, payload: bytes) -> str:
        """Take a chunk and return the text that is final with it."""
        if isinstance(payload, Comment):
            return ""
        chunk = view_chunk(payload)
        for choice in chunk.choices[:1]:
            self._finish_reason = choice.finish_reason or self._finish_reason
        return self._say(self._links.feed(await self._citations.feed(_storable(chunk.content))))

    async def finish(self) -> str:
        """Return what was held back; where there is no text at all, the honest answer."""
        rest = await self.break_off()
        if not any(part.strip() for part in self._text):
            rest += (honest := not_found(self.prepared.question.text))
            self._text.append(honest)
        return rest

    async def break_off(self) -> str:
        """Return what was held back, where no more will come."""
        return self._say(self._links.feed(await self._citations.finish()) + self._links.finish())

    def _say(self, text: str) -> str:
        """Add what is final, behind what the answer begins with."""
        if text.strip() and not self._text:
            text = self.prepared.lead + text.lstrip()
        if text:
            self._text.append(text)
        return text

    def answer(self, usage: Usage) -> AgentAnswer:
        """Return the answer as it stands; `usage` is what the turn took."""
        references = self._citations.references
        return AgentAnswer(
            message_id=self.prepared.question.message_id,
            text="".join(self._text),
            references=references,
            model=self.served.target,
            usage=usage,
            finish_reason=self._finish_reason,
            answered=bool(references),
            served=self.served,
            agent_version=self.prepared.agent.version,
            index_version=",".join(map(str, self.prepared.retrieval.index_ids)),
        )

    @property
    def removed(self) -> Removed:
        """Return what was taken out of the text so far."""
        return Removed(
            citations=self._citations.removed,
            unsupported=self._citations.unsupported,
            links=self._links.removed,
            pictures=self._links.pictures,
        )


def _storable(text: str) -> str:
    """Return a model's text without NUL characters, which PostgreSQL can't hold."""
    return text.replace("\0", "")
