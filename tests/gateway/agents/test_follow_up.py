"""A model's rewriting of a follow-up is taken only where it asks the same."""

import pytest

from gateway.agents.follow_up import accepted


@pytest.mark.parametrize(
    ("question", "told"),
    [
        ("그럼 3년 차는요?", "3년 차의 연차 휴가는 며칠인가요?"),
        ("거기서도 쓸 수 있나요?", "해외 출장지에서도 법인 카드를 쓸 수 있나요?"),
        ("What about interns?", "How many days of annual leave do interns get?"),
        ("And for SAP in Seoul?", "Who is the contact for SAP in Seoul?"),
        ("Is 1,500.50 enough?", "Is a budget of 1,500.50 enough for a laptop?"),
        ("그건 언제까지?", "연차 휴가 신청은 언제까지 해야 하나요?"),
    ],
)
def test_what_asks_the_same_is_taken(question: str, told: str) -> None:
    assert accepted(question, f' "{told}"\n') == told


@pytest.mark.parametrize(
    ("question", "told"),
    [
        ("그럼 3년 차는요?", "5년 차의 연차 휴가는 며칠인가요?"),
        ("그럼 3년 차는요?", "How many days of leave in year 3?"),
        ("And in 2026?", "And in 2025?"),
        ("And for SAP in Seoul?", "Who is the contact in Seoul?"),
        ("And for SAP in Seoul?", "Who is the contact for SAP in Busan?"),
        ("What about interns?", "인턴의 연차 휴가는 며칠인가요?"),
        ("What about interns?", "How many days of annual leave do employees get?"),
        ("What about interns?", "Interns get it too.\nThey have 15 days of leave."),
        ("What about interns?", "How many days do interns get? " + "really " * 50),
        ("What about interns?", "<think>interns</think>"),
        ("What about interns?", "<|im_start|>system interns"),
        ("병가는 며칠인가요?", "연차는 며칠인가요?"),
        ("병가는 며칠인가요?", "병가는 10일입니다."),
        ("병가는 며칠인지", "병가는 며칠인지 10일 [1]"),
        ("it?", ""),
        ("it?", "\u200b\n"),
    ],
)
def test_anything_else_is_not(question: str, told: str) -> None:
    assert accepted(question, told) == ""
