"""From candidates to a ranking: what each leg says of them, fused.

Pure: the candidates and their scores are all it sees.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from rag.types import Fusion, Passage

_RRF_K = 60
"""Cormack et al. 2009; the usual constant."""


@dataclass(frozen=True, slots=True)
class Voted:
    """The candidates of one vector space, and the share that its similarities have in a score."""

    passages: Sequence[Passage]
    dense_weight: float


def fuse(spaces: Sequence[Voted], fusion: Fusion) -> list[Passage]:
    """Return the passages of one question, ranked per leg and scored 0 to 1.

    Words are comparable over all of them, similarities within a vector space alone.
    """
    found = [passage for space in spaces for passage in space.passages]
    lexical = [passage.lexical for passage in found]
    words = normalised(lexical) if fusion == "average" else _by_rank(lexical)
    word_ranks = _ranks(lexical)
    scored: list[Passage] = []
    for space in spaces:
        similarities = [passage.similarity for passage in space.passages]
        said = words[len(scored) : len(scored) + len(similarities)]
        near = meanings(similarities, said) if fusion == "average" else _by_rank(similarities)
        for passage, meaning, rank in zip(space.passages, near, _ranks(similarities), strict=True):
            place, weight = len(scored), space.dense_weight
            score = (1 - weight) * words[place] + weight * meaning
            scored.append(
                replace(
                    passage,
                    score=score,
                    fused=score,
                    lexical_rank=word_ranks[place],
                    dense_rank=rank,
                )
            )
    return scored


def best_per_chunk(scored: Iterable[Passage]) -> list[Passage]:
    """Return each chunk once, with its best score, best first; ties by document and place."""
    best: dict[tuple[str, str], Passage] = {}
    for passage in scored:
        key = passage.store_id, passage.chunk_id
        if key not in best or passage.score > best[key].score:
            best[key] = passage
    return sorted(best.values(), key=lambda p: (-p.score, p.document_id, p.start, p.store_id))


def without_repeats(ranked: Sequence[Passage]) -> tuple[list[Passage], list[Passage]]:
    """Return what overlaps no better passage of the same page, and what does.

    One file may be in two stores.
    """
    kept: list[Passage] = []
    repeats: list[Passage] = []
    pages: dict[tuple[str, int | None], list[Passage]] = {}
    for passage in ranked:
        page = pages.setdefault((passage.document_id, passage.page), [])
        if any(_overlap(passage, better) for better in page):
            repeats.append(passage)
        else:
            page.append(passage)
            kept.append(passage)
    return kept, repeats


def _overlap(one: Passage, other: Passage) -> bool:
    """Tell whether two passages of a page have something in common."""
    return one.start < other.end and other.start < one.end


def meanings(similarities: Sequence[float | None], words: Sequence[float]) -> list[float]:
    """Scale a vector space's similarities to 0..1; for one that is not there its words stand in.

    A model has no vectors of chunks in a language that it does not know, and with nothing instead
    the one that has all of the question's words could not be before those that have none. The
    words' share, 0 to 1, is squared: a few in common say little of the meaning.
    """
    return [
        scaled if similarity is not None else word**2
        for similarity, scaled, word in zip(
            similarities, normalised(similarities), words, strict=True
        )
    ]


def _by_rank(scores: Sequence[float | None]) -> list[float]:
    # So that the first of both legs scores 1.
    return [(_RRF_K + 1) / (_RRF_K + rank) if rank else 0.0 for rank in _ranks(scores)]


def _ranks(scores: Sequence[float | None]) -> list[int | None]:
    """Number the scores from the best on; what a leg says nothing of has no rank in it.

    No word in common is nothing said.
    """
    known = [(-score, place) for place, score in enumerate(scores) if score]
    ranks: list[int | None] = [None] * len(scores)
    for rank, (_, place) in enumerate(sorted(known), start=1):
        ranks[place] = rank
    return ranks


def normalised(scores: Sequence[float | None]) -> list[float]:
    """Scale to 0..1 over the candidates; one without a score gets the least."""
    known = [score for score in scores if score is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    span = high - low
    return [0.0 if s is None else (s - low) / span if span else float(high > 0) for s in scores]
