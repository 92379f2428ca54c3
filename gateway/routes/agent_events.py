"""An agent's turn in Naru's own contract: a reply, or typed events."""

from collections.abc import Iterator

import msgspec

from gateway.agents.draft import AgentAnswer
from gateway.openai.agents import (
    AgentEvent,
    AgentReply,
    CitationEvent,
    DeltaEvent,
    DoneEvent,
    RetrievalEvent,
    SessionEvent,
)
from gateway.sessions.parts import Opened, Part
from gateway.sse import Frame


class EventTelling(msgspec.Struct, frozen=True, tag="events"):
    """How a turn is told on `/v1/agents/{name}/chat`; `created` is in seconds since 1970."""

    message_id: str
    session_id: str
    agent: str
    created: int

    def reply(self, answer: AgentAnswer) -> AgentReply:
        """Return the whole reply."""
        return AgentReply(
            response=answer.text,
            references=answer.references,
            session_id=self.session_id,
            message_id=self.message_id,
            agent=self.agent,
            model=answer.model,
            answered=answer.answered,
            agent_version=answer.agent_version,
            index_version=answer.index_version,
            usage=answer.usage,
            created=self.created,
        )

    def frames(self, opened: Opened, part: Part | AgentAnswer) -> Iterator[Frame]:
        """Yield the events of one part of the turn that began with `opened`."""
        del opened
        if isinstance(part, Opened):
            yield _frame(SessionEvent(self.session_id, self.message_id))
            yield _frame(RetrievalEvent(part.passages))
        elif isinstance(part, AgentAnswer):
            for reference in part.references:
                yield _frame(CitationEvent(reference))
            yield _frame(DoneEvent(self.reply(part)))
        else:
            yield _frame(DeltaEvent(part.text))

    def error(self, payload: bytes) -> Frame:
        """Return the event of an error; `payload` is its OpenAI object."""
        return Frame(b'{"type":"error",' + payload.removeprefix(b"{"), "error")


def _frame(value: AgentEvent) -> Frame:
    return Frame(msgspec.json.encode(value), str(type(value).__struct_config__.tag))
