"""What is found, in which order, and who votes."""

import subprocess
import time
from collections.abc import AsyncIterator, Iterator
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


async def test_the_rarer_word_weighs_more(
    pool: asyncpg.Pool, handbook: str, embedder: InMemoryEmbedder
) -> None:
    weights = (await ask(pool, embedder, handbook, "leave VPN sabbatical")).term_weights
    assert weights["sabbatical"] > weights["vpn"] > 0
    assert set(weights) == {"leave", "vpn", "sabbatical"}


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
    assert found.term_weights["annual"] == found.term_weights["leave"]


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
