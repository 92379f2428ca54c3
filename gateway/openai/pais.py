"""VMware Private AI Services on the wire, as far as agents are asked (docs/agents.md).

VMware Private AI Service API reference 9.1: `AgentChatCompletionsRequestPayload`,
`AgentChatCompletionsResponsePayload`, `Agent`.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec

from gateway.openai.chat import AgentChatRequest
from gateway.openai.references import IndexContext, Reference


class PaisChatRequest(AgentChatRequest, kw_only=True, forbid_unknown_fields=True):
    """A chat completion asked of an agent; `model` may be left out, or must be the agent's own.

    `create_session` begins a conversation; `session_id` (or `store_in_session`) goes on with one.
    """

    create_session: bool | None = None
    store_in_session: str | None = None


class PaisAgent(msgspec.Struct):
    """An agent."""

    id: str
    created_at: int
    name: str
    description: str
    instructions: str
    model: str
    index_id: str | None
    index_top_n: int
    index_similarity_cutoff: float
    session_max_length: int | None
    metadata: dict[str, str]
    object: Literal["agent"] = "agent"


class PaisAgentList(msgspec.Struct):
    """A page of agents."""

    data: list[PaisAgent]
    first_id: str | None
    last_id: str | None
    has_more: bool
    object: Literal["list"] = "list"


def context_of(references: Sequence[Reference]) -> list[IndexContext]:
    """Return what an answer rests on, as this API tells it."""
    return [
        IndexContext(
            text=each.content,
            score=each.score,
            document_id=each.document_id,
            origin_name=each.source,
            metadata={
                "index": each.index,
                "page": each.page,
                "chunk_id": each.chunk_id,
                "start": each.start,
                "end": each.end,
            },
        )
        for each in references
    ]
