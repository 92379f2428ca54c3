"""How an answer came about, on the wire: Naru's own contract."""

from typing import Literal

import msgspec

from gateway.openai.agents import AgentReply
from gateway.openai.chat import Usage, Variables
from gateway.openai.references import Reference

Outcome = Literal["kept", "tokens", "top_k", "score_threshold", "repeat"]
"""What became of a candidate: it was judged and, where that was for answering, given to the model;
or the budget of tokens was spent, others were better, it scored too little, it overlaps a better
one."""

Abstained = Literal["not_in_documents", "not_cited"]
"""Why an answer has no sources: the documents do not hold it, or what was said cites none."""


class SearchedFor(msgspec.Struct):
    """The question as it was searched for, and who made a follow-up stand alone.

    `none`: it was searched for as it was asked.
    """

    text: str
    by: Literal["model", "rule", "none"]


class GivenHistory(msgspec.Struct):
    """What of the conversation the model was given: messages, and a summary of `fallen` others."""

    messages: int
    tokens: int
    fallen: int
    summarized: bool


class Leg(msgspec.Struct):
    """What one leg says of a candidate; `rank` counts from 1."""

    score: float
    rank: int | None


class Candidate(msgspec.Struct):
    """A passage that was found, best first.

    `lexical` is BM25, `dense` the cosine (null without a vote), `fused` both together and
    `reranked` what the reranker said; `score` is the last of these there is. `earlier` tells that
    the answer before this one cited it, `cited` which reference of this answer it is, `hazards`
    what in it was made harmless before the model read it.
    """

    document_id: str
    chunk_id: str
    store_id: str
    source: str
    page: int | None
    start: int
    end: int
    lexical: Leg
    dense: Leg | None
    fused: float
    reranked: float | None
    score: float
    outcome: Outcome
    earlier: bool
    cited: int | None
    hazards: list[str]


class Quoted(msgspec.Struct):
    """The place that a reference of the answer is."""

    index: int
    chunk_id: str
    page: int | None
    start: int
    end: int


class Judged(msgspec.Struct):
    """Whether the passages hold the answer: estimated probability, and from which on they do.

    `code` says why in a word, `reason` for people; `signals` are what it rests on, each 0 to 1.
    """

    answerable: bool
    confidence: float
    threshold: float
    code: str
    reason: str
    signals: dict[str, float]


class Removed(msgspec.Struct):
    """What was taken out of the answer.

    `citations` named no passage, `unsupported` one that does not say so; `links` are addresses
    that neither the user nor a cited passage wrote.
    """

    citations: int
    unsupported: int
    links: int
    pictures: int


class TurnTrace(msgspec.Struct):
    """What `GET /v1/sessions/{id}/messages/{message}/trace` answers.

    `abstained` says why there is no sourced answer, and is null where there is one. `timings` are
    seconds of the search, by phase.
    """

    message_id: str
    agent: str
    agent_version: int
    index_version: str
    model: str
    searched: SearchedFor
    history: GivenHistory
    candidates: list[Candidate]
    verdict: Judged
    quoted: list[Quoted]
    removed: Removed
    abstained: Abstained | None
    answered_without_sources: bool
    usage: Usage
    timings: dict[str, float]
    created: int
    object: Literal["agent.trace"] = "agent.trace"


class ReplayRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /v1/sessions/{id}/messages/{message}/replay`.

    `agent` is `name`, `name@version` or `name@alias`; `variables` are those of its instructions.
    """

    agent: str
    variables: Variables | None = None


class ReplayedAnswer(msgspec.Struct):
    """The stored answer, as it was given."""

    response: str
    references: list[Reference]
    agent: str
    model: str | None
    created: int


class Replay(msgspec.Struct):
    """The same question with the same history, answered again; nothing of it is stored.

    `original_trace` is null where the answer has none.
    """

    question: str
    original: ReplayedAnswer
    original_trace: TurnTrace | None
    replayed: AgentReply
    replayed_trace: TurnTrace
    object: Literal["agent.replay"] = "agent.replay"
