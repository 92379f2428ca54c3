"""The gate: how well a small company's Korean and English documents are searched.

The floors are a little below what was measured: recall@5 1.0, nDCG@10 0.99, page accuracy 1.0,
95 % of the questions with an answer answered, all 16 without one not.
"""

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from knowledge import fill
from support import scope_of

import rag
from config import embedded, postgres
from config.settings import EmbeddingSettings
from rag.eval.metrics import Found
from rag.eval.report import Asked, measure, shortfalls
from rag.eval.sets import Question, read_set

SET = read_set(Path(__file__).parents[1] / "eval" / "company")
RESULTS = 20
AGENT_RESULTS = 5


@pytest.fixture(scope="module")
def embedding_socket(data_dir: Path) -> Iterator[Path]:
    socket = embedded.runtime_dir(data_dir) / "company-set.sock"
    argv = ["-m", "rag.embedding_worker", "--socket", str(socket), "--model", "all-MiniLM-L6-v2"]
    child: subprocess.Popen[bytes] = embedded.spawn(
        embedded.Command("embedding", [sys.executable, *argv])
    )
    while not socket.exists():
        try:
            child.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
        pytest.fail("the embedding worker did not start")
    yield socket
    assert child.stdin is not None
    child.stdin.close()
    child.wait(30)


@pytest.fixture
async def embedder(embedding_socket: Path) -> AsyncIterator[rag.Embedder]:
    opened = rag.open_embedder(EmbeddingSettings(), embedding_socket)
    yield opened
    await opened.close()


async def test_the_set_is_searched_as_well_as_it_was(
    empty_database: str, embedder: rag.Embedder
) -> None:
    await postgres.migrate(empty_database, ["rag"])
    async with await postgres.open_pool(empty_database, size=8) as pool:
        store = (await rag.create_store(pool, scope_of(), name="company")).id
        loaded = await fill(pool, embedder, store, dict(SET.documents))
        assert {file.status for file in loaded.values()} == {"completed"}

        async def ask(question: Question) -> Asked:
            found, few = [
                await rag.search(pool, embedder, scope_of(), [store], question.text, k=k)
                for k in (RESULTS, AGENT_RESULTS)
            ]
            passages = [
                Found(p.source, p.page, p.content, p.lexical, p.similarity) for p in found.passages
            ]
            answered = (await rag.assess(few, embedder)).answerable
            return Asked(question, passages, found.timings["total"], answered)

        metrics = measure([await ask(question) for question in SET.questions])
    floors = {
        "recall@1": 0.93,
        "recall@5": 0.98,
        "ndcg@10": 0.96,
        "page_accuracy": 0.95,
        "answered": 0.9,
        "abstained": 0.9,
    }
    assert shortfalls(metrics, floors) == []


def test_the_set_asks_in_both_languages_and_what_has_no_answer() -> None:
    assert len(SET.questions) >= 60
    assert {question.language for question in SET.questions} == {"ko", "en"}
    assert sum(question.unanswerable for question in SET.questions) >= 12
    named = {item.source for question in SET.questions for item in question.expected}
    assert named == set(SET.documents)
