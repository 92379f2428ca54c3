"""Follow-ups."""

import pytest

from gateway.agents.rewrite import rewrite

LEAVE = "연차 휴가는 며칠인가요?"
ANNUAL = "How many days of annual leave do I get?"


@pytest.mark.parametrize(
    ("earlier", "question", "expected"),
    [
        ([LEAVE], "그럼 3년 차는요?", "그럼 3년 차는요? (연차 휴가 며칠)"),
        ([LEAVE, "그럼 3년 차는요?"], "5년 차는요?", "5년 차는요? (연차 휴가 며칠)"),
        (["상여금은 얼마인가요?"], "그건 언제 지급되나요?", "그건 언제 지급되나요? 상여금"),
        (["상여금은 얼마인가요?"], "언제 받나요?", "언제 받나요? 상여금"),
        (["병가는 며칠인가요?"], "진단서도 내야 하나요?", "진단서도 내야 하나요? (병가 며칠)"),
        (["출산 휴가는 며칠인가요?"], "여름 휴가는요?", "여름 휴가는요? (며칠)"),
        (
            ["재택근무는 일주일에 며칠인가요?"],
            "신청은 어떻게 하나요?",
            "신청은 어떻게 하나요? (재택근무)",
        ),
        ([ANNUAL], "And in the third year?", "And in the third year? (How many days annual leave)"),
        ([ANNUAL], "how about sick leave?", "how about sick leave? (How many days)"),
        (["Is there a bonus?"], "When is it paid?", "When is it paid? bonus"),
        (["How long is maternity leave?"], "For twins?", "For twins? (How long maternity leave)"),
        (["How long is maternity leave?"], "Why?", "Why? How long maternity leave"),
    ],
)
def test_a_follow_up_gets_what_it_leans_on(
    earlier: list[str], question: str, expected: str
) -> None:
    assert rewrite(question, earlier) == expected


@pytest.mark.parametrize(
    "question",
    [
        "재택근무는 일주일에 며칠 가능한가요?",
        "급여일은 언제인가요?",
        "노트북을 잃어버리면 어디에 신고하나요?",
        "What is the capital of France?",
        "Is it possible to work from home?",
        "If my laptop is stolen, who do I tell about it?",
        "How long is parental leave?",
    ],
)
def test_a_question_of_its_own_is_left_alone(question: str) -> None:
    assert rewrite(question, [LEAVE]) == question
    assert rewrite(question, [ANNUAL]) == question


@pytest.mark.parametrize("question", ["그럼 3년 차는요?", "And in the third year?", "", "???"])
def test_without_a_conversation_nothing_changes(question: str) -> None:
    assert rewrite(question, []) == question


def test_earlier_questions_without_content_add_nothing() -> None:
    assert rewrite("그건요?", ["네", "그래요?"]) == "그건요?"


def test_a_long_conversation_is_followed_only_so_far() -> None:
    earlier = ["주차 요금은 얼마인가요?", *["그럼요?"] * 500]
    assert rewrite("그건 언제인가요?", earlier) == "그건 언제인가요?"
