"""How right citations are: over PDFs with known pages, every reference is checked against them.

`pytest -s` prints the figures.
"""

import io
import sys
from collections.abc import AsyncIterator, Callable

import asyncpg
import pytest
from knowledge import fill
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfgen.canvas import Canvas
from support import scope_of

import rag
from config import postgres
from gateway.agents.citations import Citations
from rag.testing import InMemoryEmbedder

KOREAN_ROOMS = ["가람", "누리", "다솜", "라온", "마루", "바다", "사랑", "아람", "자연", "차오름"]
ENGLISH_ROOMS = ["Maple", "Cedar", "Willow", "Birch", "Aspen", "Juniper", "Walnut", "Linden"]


def facts() -> dict[str, list[tuple[str, str, str, str]]]:
    """By file, and page by page: fact, question, a true paraphrase, one with the next's number."""
    korean = [
        (
            f"{room} 회의실의 정원은 {5 + 3 * n}명이며 예약은 {2 + n}일 전까지 합니다.",
            f"{room} 회의실 정원은 몇 명인가요?",
            f"{room} 회의실 정원은 {5 + 3 * n}명입니다",
            f"{room} 회의실 정원은 {8 + 3 * n}명입니다",
        )
        for n, room in enumerate(KOREAN_ROOMS)
    ]
    english = [
        (
            f"The {room} room seats {4 + 3 * n} people and costs {111 + n} dollars an hour.",
            f"How many people does the {room} room seat?",
            f"Up to {4 + 3 * n} people are seated in the {room} room",
            f"Up to {7 + 3 * n} people are seated in the {room} room",
        )
        for n, room in enumerate(ENGLISH_ROOMS)
    ]
    return {"회의실.pdf": korean, "rooms.pdf": english}


def pdf_of(lines: list[str]) -> bytes:
    """A page per line."""
    pdfmetrics.registerFont(UnicodeCIDFont("HYSMyeongJo-Medium"))
    target = io.BytesIO()
    canvas = Canvas(target, invariant=1)
    for line in lines:
        canvas.setFont("HYSMyeongJo-Medium", 11)
        canvas.drawString(60, 700, line)
        canvas.showPage()
    canvas.save()
    return target.getvalue()


@pytest.fixture
async def pool(empty_database: str) -> AsyncIterator[asyncpg.Pool]:
    await postgres.migrate(empty_database, ["rag"])
    async with await postgres.open_pool(empty_database, size=4) as opened:
        yield opened


async def test_every_citation_is_right_and_no_false_sentence_has_one(
    pool: asyncpg.Pool, record_property: Callable[[str, object], None]
) -> None:
    files, embedder = facts(), InMemoryEmbedder()
    store = (await rag.create_store(pool, scope_of(), name="rooms")).id
    contents = {name: pdf_of([fact for fact, *_ in rows]) for name, rows in files.items()}
    loaded = await fill(pool, embedder, store, contents)
    assert {file.status for file in loaded.values()} == {"completed"}
    right = kept = false = asked = 0
    for name, rows in files.items():
        for page, (fact, question, true, untrue) in enumerate(rows, start=1):
            found = await rag.search(pool, embedder, scope_of(), [store], question, k=5)
            asked += 1
            for number in range(1, len(found.passages) + 1):
                citations = Citations(found.passages, embedder)
                answer = f'{true} [{number}]. {untrue} [{number}]. "{untrue}" [{number}].'
                await citations.feed(answer)
                await citations.finish()
                false += 3 - citations.unsupported - len(citations.references)
                for each in citations.references:
                    kept += 1
                    right += (each.source, each.page) == (name, page) and each.content in fact
    figures = f"{asked} facts, {kept} citations kept, {right} right, {false} false kept"
    record_property("figures", figures)
    sys.stdout.write(f"\n{figures}\n")
    assert (kept, right, false) == (asked, asked, 0)
