"""An agent's turn in OpenAI's contract: a chat completion, or its chunks."""

from collections.abc import Iterator

import msgspec
from msgspec import UNSET, UnsetType

from gateway.agents.draft import AgentAnswer
from gateway.openai.chat import (
    AnswerMessage,
    ChatChunk,
    ChatCompletion,
    Choice,
    ChunkChoice,
    Delta,
)
from gateway.openai.pais import context_of
from gateway.openai.references import IndexContext
from gateway.sessions.parts import Opened, Part
from gateway.sse import Frame


class ChunkTelling(msgspec.Struct, frozen=True, tag="chunks"):
    """How a turn is told as a chat completion; `created` is in seconds since 1970.

    `index_context` tells the references a second time, as VMware Private AI Services does.
    """

    message_id: str
    session_id: str | None
    created: int
    with_usage: bool
    index_context: bool

    def reply(self, answer: AgentAnswer) -> ChatCompletion:
        """Return the whole completion."""
        return ChatCompletion(
            id=self._completion_id,
            created=self.created,
            model=answer.model,
            choices=[Choice(AnswerMessage(answer.text), answer.finish_reason)],
            usage=answer.usage,
            references=answer.references,
            session_id=self.session_id or UNSET,
            message_id=self.message_id if self.session_id else UNSET,
            index_context_info=self._context(answer),
        )

    def frames(self, opened: Opened, part: Part | AgentAnswer) -> Iterator[Frame]:
        """Yield the chunks of one part of the turn that began with `opened`."""
        if isinstance(part, Opened):
            yield self._chunk(opened, Delta(role="assistant", content=""))
        elif isinstance(part, AgentAnswer):
            whole = self._template(opened)
            last = msgspec.structs.replace(
                whole,
                choices=[ChunkChoice(Delta(), part.finish_reason)],
                references=part.references,
                index_context_info=self._context(part),
            )
            yield _frame(last)
            if self.with_usage:
                yield _frame(msgspec.structs.replace(whole, usage=part.usage))
        else:
            yield self._chunk(opened, Delta(content=part.text))

    def error(self, payload: bytes) -> Frame:
        """Return the frame of an error; `payload` is its OpenAI object."""
        return Frame(payload)

    @property
    def _completion_id(self) -> str:
        return f"chatcmpl-{self.message_id.removeprefix('msg_')}"

    def _context(self, answer: AgentAnswer) -> list[IndexContext] | UnsetType:
        return context_of(answer.references) if self.index_context else UNSET

    def _template(self, opened: Opened) -> ChatChunk:
        return ChatChunk(
            id=self._completion_id,
            created=self.created,
            model=opened.target,
            choices=[],
            usage=None if self.with_usage else UNSET,
            session_id=self.session_id or UNSET,
            message_id=self.message_id if self.session_id else UNSET,
        )

    def _chunk(self, opened: Opened, delta: Delta) -> Frame:
        template = self._template(opened)
        return _frame(msgspec.structs.replace(template, choices=[ChunkChoice(delta)]))


def _frame(chunk: ChatChunk) -> Frame:
    return Frame(msgspec.json.encode(chunk))
