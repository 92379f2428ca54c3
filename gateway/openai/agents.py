"""Agents and sessions on the wire: Naru's own contract."""

import msgspec

from gateway.openai.chat import Usage, Variables
from gateway.openai.references import Reference


class AgentMessage(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /v1/agents/{name}/chat`.

    Without a `session_id` a new session is made; its id stands in the answer. `variables` are those
    of the agent's instructions. A `resumable` stream goes on for some time when its client leaves,
    who may come back with `Last-Event-ID`.
    """

    message: str
    session_id: str | None = None
    variables: Variables | None = None
    stream: bool | None = None
    resumable: bool | None = None


class AgentReply(msgspec.Struct):
    """An agent's answer; `[n]` in `response` is the reference whose `index` is n.

    `answered` is false when the documents do not hold the answer; `references` is empty then.
    `index_version` names the indexes that were searched: a store that is read anew gets another.
    """

    response: str
    references: list[Reference]
    session_id: str
    message_id: str
    agent: str
    model: str
    answered: bool
    agent_version: int
    index_version: str
    usage: Usage
    created: int


class SessionEvent(msgspec.Struct, tag="session"):
    """First event of a stream."""

    session_id: str
    message_id: str


class FoundPassage(msgspec.Struct):
    """A passage the answer may rest on."""

    source: str
    page: int | None
    score: float
    chunk_id: str


class RetrievalEvent(msgspec.Struct, tag="retrieval"):
    """What was found."""

    passages: list[FoundPassage]


class DeltaEvent(msgspec.Struct, tag="delta"):
    """A part of the response."""

    text: str


class CitationEvent(msgspec.Struct, tag="citation"):
    """A reference of the response."""

    reference: Reference


class DoneEvent(msgspec.Struct, tag="done"):
    """Last event: the whole reply."""

    reply: AgentReply


AgentEvent = SessionEvent | RetrievalEvent | DeltaEvent | CitationEvent | DoneEvent
