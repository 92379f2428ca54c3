"""When to say that the documents do not hold the answer."""

from collections.abc import Sequence

import pytest
from passages import retrieval_of

from rag import EmbedderUnavailable, assess, judge
from rag.answerable import THRESHOLD
from rag.embedding_wire import Kind, Vector
from rag.testing import InMemoryEmbedder

LEAVE = "연차 휴가는 연간 15일입니다. 연차 휴가는 3일 전까지 신청합니다."
PAY = "급여는 매월 25일에 지급합니다. 인터넷 요금은 매달 2만 원을 지원합니다."


@pytest.mark.parametrize(
    "question",
    [
        "연차 휴가는 며칠인가요?",
        "연차휴가가 며칠이에요",
        "연차는 며칠 전에 신청해야 하나요?",
        "급여는 언제 지급되나요?",
        "인터넷 요금 지원되나요?",
    ],
)
def test_a_question_whose_words_stand_together_is_answerable(question: str) -> None:
    verdict = judge(retrieval_of(question, LEAVE, PAY))
    assert verdict.answerable
    assert verdict.confidence > 0.5


@pytest.mark.parametrize(
    "question",
    [
        "주차장 요금은 얼마인가요?",
        "프랑스의 수도는 어디인가요?",
        "스톡옵션은 언제 지급되나요?",
        "What is the capital of France?",
        "며칠인가요?",
        "",
    ],
)
def test_a_question_about_something_else_is_not(question: str) -> None:
    verdict = judge(retrieval_of(question, LEAVE, PAY))
    assert not verdict.answerable
    assert verdict.confidence < 0.5


POLITE = [
    "안녕하세요, {}",
    "안녕하세요, 수고 많으십니다. 혹시 {}",
    "규정집을 찾아봤는데 못 찾겠어요. {}",
    "입사한 지 얼마 안 돼서 잘 모르는데요, {}",
    "{} 확인 부탁드립니다.",
]


@pytest.mark.parametrize("polite", POLITE)
def test_politeness_changes_no_verdict(polite: str) -> None:
    held, lacking = [
        judge(retrieval_of(polite.format(question), LEAVE, PAY))
        for question in ("급여는 언제 지급되나요?", "주차장 요금은 얼마인가요?")
    ]
    assert held.answerable
    assert not lacking.answerable


@pytest.mark.parametrize("question", ["급여는언제지급되나요?", "인터넷요금은얼마인가요?"])
def test_a_question_without_spaces_is_answerable(question: str) -> None:
    assert judge(retrieval_of(question, LEAVE, PAY)).answerable
    assert not judge(retrieval_of("주차장요금은얼마인가요?", LEAVE, PAY)).answerable


async def test_an_embedder_is_asked_the_question_alone() -> None:
    embedder = InMemoryEmbedder()
    question = "Hi there, could you tell me who may take a taxi? Thanks a lot!"
    await assess(retrieval_of(question, "Employees may take a taxi.", similarities=[0.9]), embedder)
    assert embedder.asked[0] == "who may take a taxi?"


async def test_what_is_said_of_another_product_is_no_answer() -> None:
    rows = ["The interval of the GX-110 is 3 months.", "The interval of the GX-220 is 4 months."]
    question = "What is the interval of the {}?"
    near = {"similarities": [0.9, 0.9]}
    held = await assess(retrieval_of(question.format("GX-220"), *rows, **near), InMemoryEmbedder())
    other = await assess(retrieval_of(question.format("GX-335"), *rows, **near), InMemoryEmbedder())
    assert held.answerable
    assert (other.answerable, other.code) == (False, "few_words")
    assert "none is about what it names" in other.reason
    assert judge(retrieval_of("GX-220의 무게는?", "GX-220의 무게는 3 kg이다.")).answerable
    assert not judge(retrieval_of("GX-335의 무게는?", "GX-220의 무게는 3 kg이다.")).answerable


def test_nothing_found_is_not_answerable() -> None:
    verdict = judge(retrieval_of("연차 휴가는 며칠인가요?"))
    assert (verdict.answerable, verdict.confidence) == (False, 0.0)


def test_meaning_makes_up_for_missing_words_where_the_model_voted() -> None:
    content = "Employees receive 15 days of annual leave per year."
    near = judge(retrieval_of("How much vacation do I have?", content, similarities=[0.6]))
    far = judge(retrieval_of("How much parking is there?", content, similarities=[0.1]))
    assert near.answerable
    assert not far.answerable


def test_words_in_parentheses_do_not_carry_a_question() -> None:
    assert judge(retrieval_of("그럼 휴가는요? (연차 며칠)", LEAVE)).answerable
    assert not judge(retrieval_of("그럼 주차는요? (연차 휴가 며칠)", LEAVE)).answerable


def test_the_reason_holds_nobodys_words() -> None:
    verdict = judge(retrieval_of("연차 휴가는 며칠인가요?", LEAVE, similarities=[0.4]))
    assert "연차" not in verdict.reason
    assert "cosine 0.40" in verdict.reason


async def test_the_nearest_sentence_decides_where_the_embedder_answers() -> None:
    content = "Employees who leave the office after eleven may take a taxi."
    embedder = InMemoryEmbedder()
    retrieval = retrieval_of("How many employees have dogs?", content, similarities=[0.9])
    verdict = await assess(retrieval, embedder)
    assert not verdict.answerable
    assert verdict.signals is not None
    assert verdict.signals.nearness is not None
    question = "Which employees may take a taxi after eleven?"
    near = await assess(retrieval_of(question, content, similarities=[0.9]), embedder)
    assert (near.answerable, near.code) == (True, "answerable")


@pytest.mark.parametrize("question", ["Which employees may take a taxi?", "Who may keep a dog?"])
async def test_no_more_sentences_are_asked_than_make_it_answerable(question: str) -> None:
    rooms = " ".join(f"Room {n} is open to employees after {n}." for n in range(1, 9))
    content = f"Employees may take a taxi. {rooms}"
    retrieval = retrieval_of(question, content, similarities=[0.9])
    whole, thrifty = InMemoryEmbedder(), InMemoryEmbedder()
    verdict = await assess(retrieval, whole)
    soon = await assess(retrieval, thrifty, until_answerable=True)
    assert (soon.answerable, soon.code) == (verdict.answerable, verdict.code)
    assert soon.confidence <= verdict.confidence
    assert (len(thrifty.asked) < len(whole.asked)) == verdict.answerable


async def test_a_sentence_of_a_passage_that_is_far_away_is_not_asked() -> None:
    contents = [f"Dogs and cats of floor {n}." for n in range(5)]
    embedder = InMemoryEmbedder()
    near = [-0.9, 0.9, -0.9, None, -0.9]
    question = "Who may keep a dog here?"
    retrieval = retrieval_of(question, *contents, similarities=near)
    assert not (await assess(retrieval, embedder, until_answerable=True)).answerable
    # The first is, and who knows of the fourth?
    assert {*embedder.asked} == {question, contents[0], contents[1], contents[3]}


class Unreachable(InMemoryEmbedder):
    async def embed(self, texts: Sequence[str], kind: Kind = "document") -> list[Vector]:
        raise EmbedderUnavailable("down")


async def test_without_the_embedder_the_verdict_is_what_the_passages_say() -> None:
    retrieval = retrieval_of("When is pay day?", "Pay day is Monday.", similarities=[0.6])
    assert await assess(retrieval, Unreachable()) == judge(retrieval)


async def test_where_no_embedding_voted_none_is_asked() -> None:
    embedder = InMemoryEmbedder(languages=["ko"])
    retrieval = retrieval_of("연차 휴가는 며칠인가요?", LEAVE)
    assert await assess(retrieval, embedder) == judge(retrieval)
    assert embedder.asked == []


def test_why_there_is_no_answer_is_told_in_a_word() -> None:
    assert judge(retrieval_of("연차 휴가는?")).code == "nothing_found"
    content = "Employees who leave the office after eleven may take a taxi."
    far = judge(retrieval_of("Which employees leave?", content, similarities=[-1.0]))
    assert (far.answerable, far.code) == (False, "far_in_meaning")
    assert judge(retrieval_of("스톡옵션은 언제 지급되나요?", LEAVE, PAY)).code == "few_words"


def test_the_threshold_is_the_callers_to_choose() -> None:
    retrieval = retrieval_of("연차 휴가는 며칠인가요?", LEAVE, PAY)
    assert judge(retrieval).threshold == THRESHOLD
    strict = judge(retrieval, 1.0)
    assert (strict.answerable, strict.threshold) == (False, 1.0)
    assert judge(retrieval_of("주차장 요금은?", LEAVE), 0.0).answerable
    assert not judge(retrieval_of("주차장 요금은?"), 0.0).answerable
