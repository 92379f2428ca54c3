"""What the extractive engine says of the demo handbook, as `make run` would answer.

Floors, not perfection: without a language model some paraphrases stay unanswered. What each list
may miss is what it missed when it was measured, and a little more.
"""

import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import demo_questions as asked
import pytest
from knowledge import fill
from support import scope_of

import rag
from config import embedded, postgres
from config.settings import EmbeddingSettings
from gateway.agents.rewrite import rewrite

HANDBOOK = Path(__file__).parents[2] / "demo" / "handbook"
PASSAGES = 5


@dataclass(frozen=True)
class Handbook:
    pool: asyncpg.Pool
    embedder: rag.Embedder
    store: str

    async def ask(self, question: str) -> tuple[str, set[tuple[str, int | None]]]:
        """The answer (empty when there is none) and the pages it cites."""
        found = await rag.search(
            self.pool, self.embedder, scope_of(), [self.store], question, k=PASSAGES
        )
        quotes = await rag.extract(found, self.embedder)
        for quote in quotes:
            content = found.passages[quote.passage].content
            assert content[quote.start : quote.end] == quote.text
        cited = [found.passages[quote.passage] for quote in quotes]
        text = " ".join(quote.text for quote in quotes)
        return text, {(passage.source, passage.page) for passage in cited}

    async def misses(self, questions: list[tuple[str, str, str, int | None]]) -> list[str]:
        missed = []
        for question, wanted, source, page in questions:
            text, cited = await self.ask(question)
            if wanted not in text or (source, page) not in cited:
                missed.append(f"{question} -> {text or 'not found'}")
        return missed

    async def answered(self, questions: list[str]) -> list[str]:
        answers = [(question, (await self.ask(question))[0]) for question in questions]
        return [f"{question} -> {text}" for question, text in answers if text]


@pytest.fixture(scope="module")
def embedding_socket(data_dir: Path) -> Iterator[Path]:
    socket = embedded.runtime_dir(data_dir) / "demo-answers.sock"
    argv = ["-m", "rag.embedding_worker", "--socket", str(socket), "--model", "all-MiniLM-L6-v2"]
    child: subprocess.Popen[bytes] = embedded.spawn(
        embedded.Command("embedding", [sys.executable, *argv])
    )
    deadline = time.monotonic() + 120
    while not socket.exists():
        assert child.poll() is None, "the embedding worker did not start"
        assert time.monotonic() < deadline, "the embedding worker took too long"
        time.sleep(0.1)
    yield socket
    assert child.stdin is not None
    child.stdin.close()
    child.wait(30)


@pytest.fixture(scope="module")
async def handbook(postgres_server: str, embedding_socket: Path) -> AsyncIterator[Handbook]:
    owner = await asyncpg.connect(postgres_server)
    await owner.execute("CREATE DATABASE demo_answers")
    url = postgres_server.replace("/naru?", "/demo_answers?")
    await postgres.migrate(url, ["rag"])
    embedder = rag.open_embedder(EmbeddingSettings(), embedding_socket)
    async with await postgres.open_pool(url, size=4) as pool:
        store = (await rag.create_store(pool, scope_of(), name="handbook")).id
        files = {file.name: file.read_bytes() for file in sorted(HANDBOOK.iterdir())}
        loaded = await fill(pool, embedder, store, files)
        assert {file.status for file in loaded.values()} == {"completed"}
        yield Handbook(pool, embedder, store)
        await embedder.close()
    await owner.execute("DROP DATABASE demo_answers WITH (FORCE)")
    await owner.close()


async def test_the_questions_of_the_first_page_of_the_readme(handbook: Handbook) -> None:
    text, cited = await handbook.ask("연차 휴가는 며칠인가요?")
    assert "연차 휴가는 연간 15일" in text
    assert cited == {("HR_Policy_2026.pdf", 12)}
    text, cited = await handbook.ask(rewrite("그럼 3년 차는요?", ["연차 휴가는 며칠인가요?"]))
    assert "16일" in text
    assert cited == {("HR_Policy_2026.pdf", 12)}
    text, cited = await handbook.ask("How many days of annual leave do I get?")
    assert "15 days" in text
    assert cited == {("Employee_Handbook_2026.pdf", 4)}


@pytest.mark.parametrize(
    ("questions", "allowed"),
    [
        pytest.param(asked.KOREAN, 7, id="Korean"),
        pytest.param(asked.ENGLISH, 14, id="English"),
    ],
)
async def test_answers_come_from_the_right_page(
    handbook: Handbook, questions: list[asked.Answerable], allowed: int
) -> None:
    missed = await handbook.misses(questions)
    assert len(missed) <= allowed, "\n".join(missed)


async def test_follow_ups_use_the_conversation(handbook: Handbook) -> None:
    rows = asked.KOREAN_FOLLOW_UPS + asked.ENGLISH_FOLLOW_UPS
    missed = await handbook.misses([(rewrite(q, earlier), *rest) for earlier, q, *rest in rows])
    assert len(missed) <= 3, "\n".join(missed)


@pytest.mark.parametrize(
    ("questions", "allowed"),
    [
        pytest.param(asked.KOREAN_UNANSWERABLE, 2, id="Korean"),
        pytest.param(asked.ENGLISH_UNANSWERABLE, 2, id="English"),
    ],
)
async def test_what_the_handbook_does_not_say_is_not_answered(
    handbook: Handbook, questions: list[str], allowed: int
) -> None:
    answered = await handbook.answered(questions)
    assert len(answered) <= allowed, "\n".join(answered)


async def test_a_follow_up_about_something_else_is_not_answered(handbook: Handbook) -> None:
    questions = [rewrite(q, earlier) for earlier, q in asked.UNANSWERABLE_FOLLOW_UPS]
    assert await handbook.answered(questions) == []


@pytest.mark.parametrize(
    "question",
    ["What is the capital of France?", "주차장 요금은 얼마인가요?", "???", "", "\0", "a" * 5000],
)
async def test_nothing_is_made_up(handbook: Handbook, question: str) -> None:
    assert await handbook.ask(question) == ("", set())


async def test_the_same_question_has_the_same_answer(handbook: Handbook) -> None:
    question = "How often can I work from home?"
    assert await handbook.ask(question) == await handbook.ask(question)
