"""What an earlier answer rested on is a candidate again; what was left out is told, and why."""

import asyncpg
from knowledge import fill
from support import scope_of

import rag
from rag.testing import InMemoryEmbedder, InMemoryReranker

ACME = scope_of("acme")
# So many others come first that no leg finds the last one by itself.
CROWD = {f"{n}.md": f"# Parking\n\nParking lot number {n} is free of charge." for n in range(24)}
DOCUMENTS = {**CROWD, "leave.md": "# Leave\n\nEmployees get 15 days of annual leave."}
QUESTION = "Is parking free of charge?"


async def place_in(
    pool: asyncpg.Pool, embedder: InMemoryEmbedder, store: str
) -> tuple[rag.Place, rag.Passage]:
    found = await rag.search(pool, embedder, ACME, [store], "annual leave days", k=1)
    (passage,) = found.passages
    assert passage.source == "leave.md"
    return rag.Place(
        passage.document_id, passage.page, passage.start + 2, passage.start + 9
    ), passage


def sources(found: rag.Retrieval) -> list[str]:
    return [each.source for each in (*found.passages, *(out.passage for out in found.left_out))]


async def test_a_place_is_a_candidate_with_the_score_it_has_for_this_question(
    pool: asyncpg.Pool, store: str, embedder: InMemoryEmbedder
) -> None:
    await fill(pool, embedder, store, DOCUMENTS)
    place, passage = await place_in(pool, embedder, store)
    without = await rag.search(pool, embedder, ACME, [store], QUESTION, k=3)
    assert "leave.md" not in sources(without)
    found = await rag.search(pool, embedder, ACME, [store], QUESTION, k=3, also=[place])
    assert "leave.md" not in [each.source for each in found.passages], "others are better"
    (out,) = [out for out in found.left_out if out.passage.source == "leave.md"]
    assert (out.why, out.passage.chunk_id) == ("top_k", passage.chunk_id)
    assert out.passage.lexical < found.passages[-1].lexical
    assert out.passage.score < found.passages[-1].score


async def test_a_place_is_nobody_elses_and_no_more_than_there_is(
    pool: asyncpg.Pool, store: str, embedder: InMemoryEmbedder
) -> None:
    await fill(pool, embedder, store, DOCUMENTS)
    place, passage = await place_in(pool, embedder, store)
    other = (await rag.create_store(pool, ACME, name="other")).id
    await fill(pool, embedder, other, {"a.md": "Parking is free of charge."})
    elsewhere = await rag.search(pool, embedder, ACME, [other], QUESTION, k=3, also=[place])
    assert sources(elsewhere) == ["a.md"]
    beside = rag.Place(place.document_id, place.page, passage.end, passage.end + 5)
    paged = rag.Place(place.document_id, 1, place.start, place.end)
    missed = await rag.search(pool, embedder, ACME, [store], QUESTION, k=3, also=[beside, paged])
    assert "leave.md" not in sources(missed)
    await rag.remove_file(pool, ACME, store, place.document_id)
    gone = await rag.search(pool, embedder, ACME, [store], QUESTION, k=3, also=[place])
    assert "leave.md" not in sources(gone)


async def test_why_a_candidate_was_left_out(
    pool: asyncpg.Pool, store: str, embedder: InMemoryEmbedder
) -> None:
    twice = (await rag.create_store(pool, ACME, name="twice")).id
    texts = {"a.md": "annual leave and parking", "b.md": "annual leave", "c.md": "office"}
    stored = await fill(pool, embedder, store, texts)
    await rag.add_file(pool, ACME, twice, stored["a.md"].id)
    await fill(pool, embedder, twice, {})
    options = rag.SearchOptions(score_threshold=0.2)
    found = await rag.search(
        pool, embedder, ACME, [store, twice], "annual leave parking", k=1, options=options
    )
    assert [passage.source for passage in found.passages] == ["a.md"]
    why = {(out.passage.source, out.why) for out in found.left_out}
    assert why == {("a.md", "repeat"), ("b.md", "top_k"), ("c.md", "score_threshold")}
    for out in found.left_out:
        assert out.passage.fused == out.passage.score


async def test_the_fused_score_is_told_beside_the_rerankers(
    pool: asyncpg.Pool, store: str, embedder: InMemoryEmbedder
) -> None:
    await fill(
        pool, embedder, store, {"a.md": "annual leave", "b.md": "annual leave is paid leave"}
    )
    reranker = InMemoryReranker()
    found = await rag.search(
        pool, embedder, ACME, [store], "annual leave paid", k=1, reranker=reranker
    )
    plain = await rag.search(pool, embedder, ACME, [store], "annual leave paid", k=1)
    (best,) = found.passages
    assert best.score == best.reranked == 1.0
    assert best.fused == plain.passages[0].score
    assert [out.why for out in found.left_out] == ["top_k"]
