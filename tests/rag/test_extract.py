"""Which sentences are quoted, and how."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from passages import retrieval_of

from rag import EmbedderUnavailable, Quote, extract
from rag.embedding_wire import Kind, Vector
from rag.testing import InMemoryEmbedder

LEAVE = (
    "발생\n연차 휴가는 연간 15일이며, 80퍼센트 이상 출근한 직원에게 발생합니다. "
    "3년 차부터는 연차 휴가가 16일로 늘어납니다.\n"
    "신청\n연차 휴가는 사용하려는 날의 3일 전까지 신청합니다."
)
SICK = "병가는 1년에 유급으로 10일까지 쓸 수 있습니다. 병가가 연속 3일이면 진단서를 냅니다."


class Unreachable(InMemoryEmbedder):
    async def embed(self, texts: Sequence[str], kind: Kind = "document") -> list[Vector]:
        raise EmbedderUnavailable("down")


async def answer(question: str, *contents: str, **others: Sequence[float]) -> tuple[Quote, ...]:
    return await extract(retrieval_of(question, *contents, **others), InMemoryEmbedder())


@pytest.mark.parametrize(
    ("question", "sentence"),
    [
        ("연차 휴가는 며칠인가요?", "연차 휴가는 연간 15일이며"),
        ("연차는 며칠 전에 신청해요?", "3일 전까지 신청합니다"),
        ("3년 차에는 연차가 며칠이에요?", "16일로"),
        ("그럼 3년 차는요? (연차 휴가 며칠)", "16일로"),
        ("진단서는 언제 필요한가요?", "연속 3일이면 진단서"),
    ],
)
async def test_the_sentence_that_answers_is_quoted(question: str, sentence: str) -> None:
    found = await answer(question, LEAVE, SICK)
    assert len(found) == 1
    assert sentence in found[0].text


@pytest.mark.parametrize(
    ("question", "quoted"),
    [
        ("GX-220의 교정 주기는 몇 개월인가요?", ["GX-220 교정 주기는 4개월이다."]),
        ("교정 주기는 GX-110의 경우 몇 개월인가요?", ["GX-110 교정 주기는 3개월이다."]),
        ("GX-335의 교정 주기는 몇 개월인가요?", []),
    ],
)
async def test_of_like_products_the_one_asked_for_is_quoted(
    question: str, quoted: list[str]
) -> None:
    rows = "GX-110 교정 주기는 3개월이다. GX-220 교정 주기는 4개월이다."
    assert [quote.text for quote in await answer(question, rows)] == quoted


async def test_two_questions_at_once_get_two_sentences() -> None:
    found = await answer("병가는 며칠이고 연차 휴가는 며칠인가요?", LEAVE, SICK)
    assert [quote.passage for quote in found] in ([0, 1], [1, 0])


async def test_no_more_quotes_than_asked_for() -> None:
    question = "병가는 며칠이고 연차 휴가는 며칠인가요?"
    found = await extract(retrieval_of(question, LEAVE, SICK), InMemoryEmbedder(), max_quotes=1)
    assert len(found) == 1


async def test_quotes_are_verbatim_and_headings_are_not_quoted() -> None:
    found = await answer("연차 휴가 발생과 신청은?", LEAVE)
    assert found
    for quote in found:
        assert LEAVE[quote.start : quote.end] == quote.text
        assert quote.text.endswith("니다.")


async def test_what_is_not_there_is_not_answered() -> None:
    assert await answer("주차장 요금은 얼마인가요?", LEAVE, SICK) == ()
    assert await answer("연차 휴가는 며칠인가요?") == ()


async def test_a_sentence_far_from_the_question_is_not_quoted() -> None:
    content = "Employees who leave the office after eleven may take a taxi."
    question = "How many employees are there?"
    assert await answer(question, content, similarities=[0.9]) == ()
    assert await answer("Which employees may take a taxi?", content, similarities=[0.9])


async def test_an_embedder_out_of_reach_leaves_the_words() -> None:
    retrieval = retrieval_of("When is pay day?", "Pay day is Monday.", similarities=[0.9])
    found = await extract(retrieval, Unreachable())
    assert [quote.text for quote in found] == ["Pay day is Monday."]


async def test_an_embedder_without_a_vote_is_not_asked() -> None:
    embedder = InMemoryEmbedder()
    assert await extract(retrieval_of("연차 휴가는 며칠인가요?", LEAVE), embedder)
    assert embedder.asked == []


@given(
    question=st.text(alphabet="연차휴가는 며칠인가요?abc (1)\n", max_size=30),
    contents=st.lists(
        st.text(alphabet="연차휴가는 15일입니다.abc?!\n#-|", min_size=1, max_size=80), max_size=4
    ),
)
@settings(max_examples=150, deadline=None)
async def test_any_question_over_any_text(question: str, contents: list[str]) -> None:
    retrieval = retrieval_of(question, *contents)
    found = await extract(retrieval, InMemoryEmbedder())
    assert found == await extract(retrieval, InMemoryEmbedder())
    for quote in found:
        assert contents[quote.passage][quote.start : quote.end] == quote.text
        assert quote.text.strip() == quote.text != ""
