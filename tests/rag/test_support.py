"""Which citations of a sentence hold, and where their passages say it."""

import pytest
from passages import retrieval_of

from rag.errors import EmbedderUnavailable
from rag.support import Claim, Support
from rag.testing import InMemoryEmbedder

LEAVE = "연차 휴가는 연간 15일이다. 남은 연차는 5일까지 이월할 수 있다."
SICK = "병가는 연간 10일까지 유급이다. 진단서는 연속 3일부터 낸다."
EXPENSES = "Travel expenses are reimbursed within 30 days. Receipts are kept for two years."
ARTICLE = "연차 휴가는 「근로기준법」 제60조에 따라 연간 15일로 한다."
LAW = f"직원은 쉴 권리가 있다. {ARTICLE} 끝."
GOLD = 'Plans are billed monthly. The "Gold" plan costs 49 dollars. Others are free.'
CHAIR = '이름: 의자 | 설명: 높이 조절 가능 "최고급" | 가격: 120,000원'
FAMILY = "『취업규칙』은 매년 고친다. “특별 휴가”는 유급이다. 『취업규칙』에 따라 경조는 5일이다."
FORM = "Bring the “blue form” to the desk. It is open daily. The fee there is 30 dollars."
REVIEW = "상반기 평가는 2026년 6월 15일부터 6월 30일까지"
RULE = "제15조(연차 휴가) 직원은 입사 1년 뒤부터 유급 휴가를 쓴다."
HOTEL = "Hotels in Korea are covered up to 120,000 won per night."
PASSAGES = (LEAVE, SICK, EXPENSES, HOTEL)


def support(embedder: InMemoryEmbedder | None = None) -> Support:
    return Support(retrieval_of("?", *PASSAGES).passages, embedder)


@pytest.mark.parametrize(
    ("sentence", "index", "says"),
    [
        ("연차 휴가는 1년에 15일입니다.", 0, "연차 휴가는 연간 15일이다."),
        ("병가는 10일까지 유급입니다.", 1, "병가는 연간 10일까지 유급이다."),
        (
            "Travel expenses: reimbursed within thirty days.",
            2,
            "Travel expenses are reimbursed within 30 days.",
        ),
        ("A hotel in Korea is covered up to 120 thousand won.", 3, HOTEL),
        (
            'The policy says "receipts are kept for two years".',
            2,
            "Receipts are kept for two years",
        ),
    ],
)
async def test_a_paraphrase_is_supported_by_the_place_that_says_it(
    sentence: str, index: int, says: str
) -> None:
    judged = support()
    assert await judged.supporting(Claim(sentence), [index]) == [index]
    span = judged.spans[index]
    assert PASSAGES[index][span.start : span.end] == says


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (REVIEW, "상반기 평가는 2026-06-15부터 2026-06-30까지 진행합니다."),
        (REVIEW, "상반기 평가는 2026/6/15~2026/6/30에 진행합니다."),
        (REVIEW, "상반기 평가는 6/15~6/30에 합니다."),
        (REVIEW, "상반기 평가는 2026.6.15.부터 2026.6.30.까지 진행합니다."),
        (REVIEW, "상반기 평가는 06월 15일부터 06월 30일까지입니다."),
        (RULE, "규정 15번 조항: 직원은 입사 1년 뒤부터 유급 연차 휴가를 씁니다."),
        (RULE, "직원은 15조에 따라 입사 1년 뒤부터 유급 연차 휴가를 씁니다."),
        (RULE, "제15조에 따라 직원은 유급 연차 휴가를 씁니다."),
    ],
)
async def test_numbers_of_dates_and_articles_are_compared_as_values(
    content: str, sentence: str
) -> None:
    judged = Support(retrieval_of("?", content).passages)
    assert await judged.supporting(Claim(sentence), [0]) == [0]


@pytest.mark.parametrize(
    "sentence",
    [
        "상반기 평가는 2026-06-16부터 2026-06-30까지 진행합니다.",
        "상반기 평가는 5/15~6/30에 합니다.",
        "구내 주차장 공사는 6/15~6/30에 합니다.",
        "주차장 공사는 2026-06-15부터 2026-06-30까지 진행합니다.",
    ],
)
async def test_another_date_or_matter_is_not_supported(sentence: str) -> None:
    judged = Support(retrieval_of("?", REVIEW).passages)
    assert await judged.supporting(Claim(sentence), [0]) == []


@pytest.mark.parametrize(
    ("content", "sentence", "says"),
    [
        (LAW, ARTICLE, ARTICLE),
        (LAW, "「근로기준법」에 따라 연간 15일입니다.", ARTICLE),
        (GOLD, 'The "Gold" plan costs 49 dollars.', 'The "Gold" plan costs 49 dollars.'),
        (GOLD, 'With "Gold" you pay 49.', 'The "Gold" plan costs 49 dollars.'),
        (CHAIR, CHAIR, CHAIR),
        (CHAIR, '"최고급" 의자의 가격은 12만 원입니다.', CHAIR),
        (FAMILY, "“특별 휴가”는 유급입니다.", "“특별 휴가”는 유급이다."),
        (FAMILY, "『취업규칙』에 따라 경조는 5일입니다.", FAMILY.split(". ")[2]),
        (FAMILY, "문서에는 “특별 휴가”라고 되어 있습니다.", "특별 휴가"),
        (FORM, 'You bring the "blue form" and pay 30.', FORM),
    ],
)
async def test_a_quoted_word_is_not_all_that_says_it(
    content: str, sentence: str, says: str
) -> None:
    judged = Support(retrieval_of("?", content).passages)
    assert await judged.supporting(Claim(sentence), [0]) == [0]
    span = judged.spans[0]
    assert content[span.start : span.end] == says


@pytest.mark.parametrize(
    ("sentence", "index"),
    [
        pytest.param("연차 휴가는 1년에 16일입니다.", 0, id="another number"),
        pytest.param("연차 휴가는 1년에 15일입니다.", 1, id="another passage"),
        pytest.param("Hotels in Korea are covered up to 210,000 won.", 3, id="another amount"),
        pytest.param('It says "receipts are kept for ten years".', 2, id="no such quote"),
        pytest.param("Travel by helicopter needs the board's approval.", 2, id="other words"),
    ],
)
async def test_what_a_passage_does_not_say_is_not_supported(sentence: str, index: int) -> None:
    judged = support(InMemoryEmbedder())
    assert await judged.supporting(Claim(sentence), [index]) == []
    assert not judged.spans


async def test_two_passages_that_say_it_together() -> None:
    claim = Claim("연차 휴가는 연간 15일이고 병가는 연간 10일까지 유급입니다.")
    assert await support().supporting(claim, [0, 1]) == [0, 1]
    assert await support().supporting(claim, [0]) == [], "10 stands in the other one"


async def test_an_embedder_that_fails_is_not_asked_again() -> None:
    class Broken(InMemoryEmbedder):
        calls = 0

        async def embed(self, *_: object) -> list[object]:  # type: ignore[override]
            self.calls += 1
            raise EmbedderUnavailable("it is gone")

    broken = Broken()
    judged = support(broken)
    for _ in range(2):
        claim = Claim("Travel costs get repaid quickly.")
        assert await judged.supporting(claim, [2]) == []
    assert broken.calls == 1
