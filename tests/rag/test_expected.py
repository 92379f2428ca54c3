"""What an answer must look like."""

import pytest

from rag.expected import expected_answer


@pytest.mark.parametrize(
    ("question", "fits", "does_not"),
    [
        ("연차는 며칠인가요?", "연간 15일이며", "팀장이 승인합니다"),
        ("며칠 전에 신청하나요?", "3일 전까지", "연간 15일이며"),
        ("언제 지급되나요?", "매월 25일에 지급", "30일분의 평균 임금"),
        ("언제까지 내나요?", "14일 안에", "매월 지급"),
        ("얼마인가요?", "3만 원", "3일"),
        ("How much is it?", "30,000 won", "two days"),
        ("How long is it?", "three months", "30,000 won"),
        ("When is it?", "on Friday", "by the team lead"),
        ("How many people?", "at least five", "everyone"),
        ("언제 필요한가요?", "3일 이상이면 냅니다", "7일 안에 냅니다"),
    ],
)
def test_kinds_of_answers(question: str, fits: str, does_not: str) -> None:
    expected = expected_answer(question)
    assert expected
    assert expected.search(fits)
    assert not expected.search(does_not)


def test_an_open_question_expects_nothing() -> None:
    assert expected_answer("징계의 종류를 알려주세요") is None
    assert expected_answer("Who approves overtime?") is None
