"""What is found, in which order, and who votes."""

import asyncio
import datetime as dt
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import asyncpg
import pytest
from knowledge import fill, pdf_of
from support import scope_of

import rag
from config import embedded
from config.settings import EmbeddingSettings
from rag.embed import Embedder
from rag.testing import InMemoryEmbedder
from rag.types import Fusion

ACME = scope_of("acme")
HANDBOOK = {
    "휴가.pdf": pdf_of(
        ["제1조(목적)", "이 규정은 휴가를 정한다."],
        ["제2조(연차)", "연차 휴가는 연간 15일이다."],
        ["제3조(병가)", "병가는 한 해에 최대 60일까지 쓸 수 있다."],
    ),
    "vpn.md": "# VPN\n\nConnect to the VPN with the token from the help desk.",
    "leave.md": "# Leave\n\nEmployees get 15 days of annual leave.\n\n# Laptops\n\nAsk IT.",
}


@pytest.fixture
async def handbook(pool: asyncpg.Pool, store: str, embedder: InMemoryEmbedder) -> str:
    await fill(pool, embedder, store, HANDBOOK)
    return store


async def ask(
    pool: asyncpg.Pool, embedder: Embedder, store: str, question: str, k: int = 3
) -> rag.Retrieval:
    return await rag.search(pool, embedder, ACME, [store], question, k=k)


async def test_korean_finds_its_page_without_the_embedding(
    pool: asyncpg.Pool, handbook: str, embedder: InMemoryEmbedder
) -> None:
    embedder.asked.clear()
    found = await ask(pool, embedder, handbook, "연차휴가는 며칠인가요?")
    best = found.passages[0]
    assert (best.source, best.page, best.heading) == ("휴가.pdf", 2, "제2조(연차)")
    assert "15일" in best.content
    assert best.chunk_id == f"{best.document_id}#{1}"
    assert (best.score, best.similarity, found.dense_weight) == (1.0, None, 0.0)
    assert embedder.asked == []


async def test_english_is_ranked_by_both(
    pool: asyncpg.Pool, handbook: str, embedder: InMemoryEmbedder
) -> None:
    found = await ask(pool, embedder, handbook, "How many days of annual leave?")
    assert (found.passages[0].source, found.passages[0].page) == ("leave.md", None)
    assert found.dense_weight == 0.5
    assert found.passages[0].similarity is not None
    scores = [passage.score for passage in found.passages]
    assert scores == sorted(scores, reverse=True)
    assert 0 <= scores[-1] <= scores[0] <= 1


async def test_a_later_part_is_found_by_what_the_document_says_first(
    pool: asyncpg.Pool, store: str, embedder: InMemoryEmbedder
) -> None:
    part = "# Battery\n\nCharge it for two hours."
    manuals = {f"{n}.md": f"Manual of the Naruphone {n * 11}.\n\n{part}" for n in range(1, 6)}
    await fill(pool, embedder, store, manuals)
    found = await ask(pool, embedder, store, "How long to charge the battery of a Naruphone 44?")
    assert (found.passages[0].source, found.passages[0].heading) == ("4.md", "Battery")


async def test_the_rarer_word_weighs_more(
    pool: asyncpg.Pool, handbook: str, embedder: InMemoryEmbedder
) -> None:
    weights = (await ask(pool, embedder, handbook, "leave VPN holiday")).term_weights
    assert weights["holiday"] > weights["vpn"] > 0
    assert set(weights) == {"leav", "vpn", "holiday"}


@pytest.mark.parametrize("question", ["", " \n", "\0", "\ud800", "?!", "가" * 100_000, "a\0b 연차"])
async def test_any_text_can_be_asked(
    pool: asyncpg.Pool, handbook: str, embedder: InMemoryEmbedder, question: str
) -> None:
    found = await ask(pool, embedder, handbook, question)
    assert found.question == question
    assert len(found.passages) <= 3


async def test_an_empty_store_answers_nothing(
    pool: asyncpg.Pool, store: str, embedder: InMemoryEmbedder
) -> None:
    found = await ask(pool, embedder, store, "annual leave")
    assert (found.passages, found.dense_weight) == ((), 0.0)
    assert found.term_weights["annual"] == found.term_weights["leav"]


@pytest.mark.parametrize(
    "other", [InMemoryEmbedder(model="newer"), InMemoryEmbedder(dimensions=32)]
)
async def test_vectors_of_another_model_have_no_vote(
    pool: asyncpg.Pool, handbook: str, other: InMemoryEmbedder
) -> None:
    found = await ask(pool, other, handbook, "annual leave")
    assert found.passages[0].source == "leave.md"
    assert (found.passages[0].similarity, found.dense_weight) == (None, 0.0)


async def test_without_the_embedder_the_words_decide(
    pool: asyncpg.Pool, owner: asyncpg.Connection, handbook: str, tmp_path: Path
) -> None:
    settings = EmbeddingSettings(model="in-memory")
    gone = rag.open_embedder(settings, tmp_path / "nobody.sock")
    await owner.execute("UPDATE indexes SET space = $1", gone.space)
    found = await ask(pool, gone, handbook, "annual leave")
    assert (found.passages[0].source, found.dense_weight) == ("leave.md", 0.0)


async def test_a_document_in_two_stores_is_found_once(
    pool: asyncpg.Pool, handbook: str, embedder: InMemoryEmbedder
) -> None:
    second = (await rag.create_store(pool, ACME, name="second")).id
    for file in await rag.list_store_files(pool, ACME, handbook):
        await rag.add_file(pool, ACME, second, file.id)
    await fill(pool, embedder, second, {})
    stores = [handbook, second]
    found = await rag.search(pool, embedder, ACME, stores, "annual leave", k=10)
    ids = [passage.chunk_id for passage in found.passages]
    assert len(ids) == len(set(ids))
    assert found == await rag.search(pool, embedder, ACME, stores[::-1], "annual leave", k=10)


async def test_another_tenants_store_is_missing(
    pool: asyncpg.Pool, handbook: str, embedder: InMemoryEmbedder
) -> None:
    other = scope_of("other")
    mine = (await rag.create_store(pool, other, name="mine")).id
    for stores in ([handbook], [mine, handbook], [mine, "vs_0"], ["a\0"]):
        with pytest.raises(rag.NotFound) as caught:
            await rag.search(pool, embedder, other, stores, "annual leave", k=3)
        assert caught.value.id == stores[-1]
    assert (await rag.search(pool, embedder, other, [mine], "annual leave", k=3)).passages == ()


class WordCounter:
    """A reranker: how many of the query's words a text holds."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def rerank(self, query: str, texts: Sequence[str]) -> list[float]:
        self.asked.append(query)
        words = query.casefold().split()
        return [sum(word in text.casefold() for word in words) / len(words) for text in texts]


class NoReranker:
    async def rerank(self, query: str, texts: Sequence[str]) -> list[float]:
        raise rag.RerankerUnavailable("away")


async def test_a_filter_leaves_only_files_that_it_matches(
    pool: asyncpg.Pool, owner: asyncpg.Connection, handbook: str, embedder: InMemoryEmbedder
) -> None:
    await owner.execute(
        "UPDATE store_files sf SET attributes = jsonb_build_object("
        " 'name', f.filename, 'year', 2026) FROM files f WHERE f.id = sf.file_id"
    )
    only = rag.Comparison("name", "eq", "vpn.md")
    found = await rag.search(
        pool, embedder, ACME, [handbook], "annual leave 연차", k=9, filter=only
    )
    assert {p.source for p in found.passages} == {"vpn.md"}
    assert found.passages[0].attributes == {"name": "vpn.md", "year": 2026}
    none = rag.Compound("and", [only, rag.Comparison("year", "lt", 2026)])
    found = await rag.search(pool, embedder, ACME, [handbook], "annual leave", k=9, filter=none)
    assert found.passages == ()


async def test_of_several_questions_each_passage_has_its_best_score(
    pool: asyncpg.Pool, handbook: str, embedder: InMemoryEmbedder
) -> None:
    questions = ["annual leave", "병가는 며칠", "VPN token"]
    alone = {q: (await ask(pool, embedder, handbook, q, k=9)).passages for q in questions}
    found = await rag.search(pool, embedder, ACME, [handbook], questions, k=9)
    assert found.question == "annual leave\n병가는 며칠\nVPN token"
    assert {"annual", "병가", "vpn"} <= set(found.term_weights)
    best: dict[str, float] = {}
    for passage in (p for passages in alone.values() for p in passages):
        best[passage.chunk_id] = max(passage.score, best.get(passage.chunk_id, 0.0))
    assert {p.chunk_id: p.score for p in found.passages} == best
    assert [p.score for p in found.passages] == sorted(best.values(), reverse=True)


async def test_what_scores_less_than_the_threshold_is_left_out(
    pool: asyncpg.Pool, handbook: str, embedder: InMemoryEmbedder
) -> None:
    every = await ask(pool, embedder, handbook, "annual leave", k=9)
    options = rag.SearchOptions(score_threshold=0.5)
    found = await rag.search(pool, embedder, ACME, [handbook], "annual leave", k=9, options=options)
    assert found.passages == tuple(p for p in every.passages if p.score >= 0.5)
    assert 0 < len(found.passages) < len(every.passages)


@pytest.mark.parametrize("fusion", ["average", "rrf"])
async def test_scores_lie_within_0_and_1_and_the_first_of_both_legs_has_1(
    pool: asyncpg.Pool, handbook: str, embedder: InMemoryEmbedder, fusion: Fusion
) -> None:
    found = await rag.search(
        pool,
        embedder,
        ACME,
        [handbook],
        "annual leave days",
        k=9,
        options=rag.SearchOptions(fusion=fusion, dense_weight=0.3),
    )
    assert found.dense_weight == 0.3
    best = found.passages[0]
    assert (best.lexical_rank, best.dense_rank) == (1, 1)
    assert best.score == pytest.approx(1)
    assert all(0 <= passage.score <= 1 for passage in found.passages)
    assert {p.lexical_rank for p in found.passages if not p.lexical} == {None}


async def test_the_reranker_has_the_last_word_where_there_is_one(
    pool: asyncpg.Pool, handbook: str, embedder: InMemoryEmbedder
) -> None:
    reranker = WordCounter()

    async def asking(rerank: bool | None, who: rag.Reranker = reranker) -> rag.Retrieval:
        options = rag.SearchOptions(rerank=rerank)
        return await rag.search(
            pool, embedder, ACME, [handbook], "help desk", k=9, options=options, reranker=who
        )

    found = await asking(None)
    assert [p.score for p in found.passages] == [p.reranked for p in found.passages]
    assert (found.passages[0].source, found.passages[0].score) == ("vpn.md", 1.0)
    assert reranker.asked == ["help desk"]
    plain = await asking(rerank=False)
    assert {p.reranked for p in plain.passages} == {None}
    assert await asking(None, NoReranker()) == plain
    assert len(reranker.asked) == 1


async def test_a_search_says_what_it_searched_and_where_the_time_went(
    pool: asyncpg.Pool, owner: asyncpg.Connection, handbook: str, embedder: InMemoryEmbedder
) -> None:
    found = await ask(pool, embedder, handbook, "annual leave")
    index = await owner.fetchval("SELECT id FROM indexes WHERE store_id = $1", handbook)
    assert found.index_ids == (index,)
    assert set(found.timings) == {"words", "embedding", "vectors", "total"}
    assert 0 < found.timings["words"] < found.timings["total"]


async def test_that_a_store_was_used_is_written_down_at_most_once_a_minute(
    pool: asyncpg.Pool, owner: asyncpg.Connection, handbook: str, embedder: InMemoryEmbedder
) -> None:
    async def last_used() -> dt.datetime:
        used: dt.datetime = await owner.fetchval("SELECT last_active_at FROM vector_stores")
        return used

    async def long_ago(seconds: int) -> dt.datetime:
        await owner.execute(
            "UPDATE vector_stores SET last_active_at = clock_timestamp() - $1 * interval '1 s'",
            seconds,
        )
        return await last_used()

    before = await long_ago(50)
    await ask(pool, embedder, handbook, "annual leave")
    assert await last_used() == before
    before = await long_ago(70)
    async with owner.transaction():
        await owner.execute("SELECT FROM vector_stores FOR UPDATE")
        async with asyncio.timeout(5):  # nobody waits for who is changing the store
            await ask(pool, embedder, handbook, "annual leave")
        assert await last_used() == before
    await ask(pool, embedder, handbook, "annual leave")
    assert await last_used() > before


async def test_in_one_search_each_vector_space_is_ranked_by_itself(
    pool: asyncpg.Pool, handbook: str, embedder: InMemoryEmbedder
) -> None:
    other = InMemoryEmbedder(model="newer", dimensions=32)
    second = (await rag.create_store(pool, ACME, name="second")).id
    await fill(pool, other, second, {"moving.md": "# Moving\n\nAnnual leave for moving."})
    models = rag.Embedders(embedder, {"newer": other})
    for known, voters in [(models, {handbook, second}), (embedder, {handbook})]:
        found = await rag.search(pool, known, ACME, [handbook, second], "annual leave", k=9)
        voted = [p for p in found.passages if p.similarity is not None]
        assert {p.store_id for p in voted} == voters
        assert [p.dense_rank for p in voted].count(1) == len(voters)
        assert {p.store_id for p in found.passages} == {handbook, second}


@pytest.fixture(scope="session")
def worker_socket(data_dir: Path) -> Iterator[Path]:
    """The socket of a running embedding worker with the packaged model."""
    socket = embedded.runtime_dir(data_dir) / "embedding-test.sock"
    argv = ["-m", "rag.embedding_worker", "--socket", str(socket), "--model", "all-MiniLM-L6-v2"]
    child: subprocess.Popen[bytes] = embedded.spawn(
        embedded.Command("embedding", [embedded.sys.executable, *argv])
    )
    while not socket.exists():
        assert child.poll() is None, "the embedding worker did not start"
        time.sleep(0.05)
    yield socket
    assert child.stdin is not None
    child.stdin.close()
    child.wait(30)


@pytest.fixture
async def real_embedder(worker_socket: Path) -> AsyncIterator[Embedder]:
    opened = rag.open_embedder(EmbeddingSettings(), worker_socket)
    yield opened
    await opened.close()


async def test_the_real_model_finds_what_is_meant(
    pool: asyncpg.Pool, store: str, real_embedder: Embedder
) -> None:
    documents = HANDBOOK | {"car.md": "# Vehicles\n\nPark automobiles in the garage."}
    await fill(pool, real_embedder, store, documents)
    found = await ask(pool, real_embedder, store, "Where can I leave my car?")
    assert "car.md" in [passage.source for passage in found.passages[:2]]
    assert real_embedder.dimensions == 384
    korean = await ask(pool, real_embedder, store, "병가는 최대 며칠까지 쓸 수 있나요?")
    assert (korean.passages[0].source, korean.passages[0].page) == ("휴가.pdf", 3)
    assert korean.dense_weight == 0.0
