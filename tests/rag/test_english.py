"""English endings and function words."""

import pytest

from rag.english import LIGHT_SHARE, number, same_word, weight


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("salary", "salaries", True),
        ("submit", "submitted", True),
        ("reimburse", "reimbursement", True),
        ("approve", "approval", True),
        ("car", "card", False),
        ("parent", "parking", False),
        ("pay", "pay", True),
    ],
)
def test_same_word(one: str, other: str, same: bool) -> None:
    assert same_word(one, other) is same
    assert same_word(other, one) is same


@pytest.mark.parametrize(
    ("word", "expected"), [("third", "3"), ("3rd", "3"), ("two", "2"), ("days", "days")]
)
def test_numbers(word: str, expected: str) -> None:
    assert number(word) == expected


def test_weights() -> None:
    assert (weight("the"), weight("take"), weight("leave")) == (0.0, LIGHT_SHARE, 1.0)
    assert (weight("x"), weight("7")) == (0.0, 1.0)
