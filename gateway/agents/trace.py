"""How a turn came about, made when it is over."""

import logging
import time
from collections.abc import Iterator

from gateway.agents.draft import AgentAnswer, Prepared
from gateway.agents.inert import hazards
from gateway.observe import metrics
from gateway.openai.traces import (
    Abstained,
    Candidate,
    GivenHistory,
    Judged,
    Leg,
    Outcome,
    Quoted,
    Removed,
    SearchedFor,
    TurnTrace,
)
from rag import Passage, Place

_log = logging.getLogger(__name__)

_MOST = 100
"""Candidates that are told; of more the best."""


def trace_of(prepared: Prepared, answer: AgentAnswer, removed: Removed) -> TurnTrace:
    """Return the trace of a turn that has ended."""
    return TurnTrace(
        message_id=answer.message_id,
        agent=prepared.agent.name,
        agent_version=answer.agent_version,
        index_version=answer.index_version,
        model=answer.model,
        searched=SearchedFor(prepared.asked.text, prepared.asked.by),
        history=_history(prepared),
        candidates=_candidates(prepared, answer),
        verdict=_verdict(prepared),
        quoted=[
            Quoted(each.index, each.chunk_id, each.page, each.start, each.end)
            for each in answer.references
        ],
        removed=removed,
        abstained=_abstained(prepared, answer),
        answered_without_sources=bool(prepared.lead),
        usage=answer.usage,
        timings={name: round(each, 4) for name, each in prepared.retrieval.timings.items()},
        created=int(time.time()),
    )


def note_verdict(trace: TurnTrace) -> None:
    """Log and count how a turn ended, and what was made harmless on its way; no text of anybody."""
    verdict = "without_sources" if trace.answered_without_sources else trace.abstained or "answered"
    _log.info("agent %s, message %s: %s", trace.agent, trace.message_id, verdict)
    metrics.AGENT_ANSWERS.add(verdict)
    metrics.CONFIDENCE.observe(trace.verdict.confidence)
    found = {hazard for candidate in trace.candidates for hazard in candidate.hazards}
    taken = {f"{name}_removed" for name in ("links", "pictures") if getattr(trace.removed, name)}
    if kinds := sorted(found | taken):
        kind = ", ".join(kinds)
        _log.warning("agent %s, message %s: %s", trace.agent, trace.message_id, kind)


def _history(prepared: Prepared) -> GivenHistory:
    history = prepared.history
    return GivenHistory(
        messages=len(history.messages),
        tokens=history.tokens,
        fallen=history.fallen,
        summarized=bool(history.summary),
    )


def _verdict(prepared: Prepared) -> Judged:
    verdict = prepared.verdict
    signals = verdict.signals.known if verdict.signals else {}
    return Judged(
        answerable=verdict.answerable,
        confidence=round(verdict.confidence, 4),
        threshold=verdict.threshold,
        code=verdict.code,
        reason=verdict.reason,
        signals={name: round(value, 4) for name, value in signals.items()},
    )


def _abstained(prepared: Prepared, answer: AgentAnswer) -> Abstained | None:
    if not prepared.verdict.answerable:
        return "not_in_documents"
    return None if answer.answered else "not_cited"


def _candidates(prepared: Prepared, answer: AgentAnswer) -> list[Candidate]:
    cited = {each.chunk_id: each.index for each in answer.references}
    places = prepared.history.places
    return [
        Candidate(
            document_id=passage.document_id,
            chunk_id=passage.chunk_id,
            store_id=passage.store_id,
            source=passage.source,
            page=passage.page,
            start=passage.start,
            end=passage.end,
            lexical=Leg(round(passage.lexical, 4), passage.lexical_rank),
            dense=_dense(passage),
            fused=round(passage.fused, 4),
            reranked=passage.reranked,
            score=round(passage.score, 4),
            outcome=outcome,
            earlier=any(_holds(passage, place) for place in places),
            cited=cited.get(passage.chunk_id) if outcome == "kept" else None,
            hazards=sorted(hazards(passage.content)) if outcome == "kept" else [],
        )
        for passage, outcome in [*_outcomes(prepared)][:_MOST]
    ]


def _outcomes(prepared: Prepared) -> Iterator[tuple[Passage, Outcome]]:
    found, kept = prepared.retrieval, len(prepared.kept.passages)
    for number, passage in enumerate(found.passages):
        yield passage, "kept" if number < kept else "tokens"
    for left in found.left_out:
        yield left.passage, left.why


def _dense(passage: Passage) -> Leg | None:
    similarity = passage.similarity
    return None if similarity is None else Leg(round(similarity, 4), passage.dense_rank)


def _holds(passage: Passage, place: Place) -> bool:
    same = (passage.document_id, passage.page) == (place.document_id, place.page)
    return same and passage.start < place.end and place.start < passage.end
