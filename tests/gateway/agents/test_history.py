"""How much of a conversation a prompt holds."""

import pytest

from gateway.agents.definition import HistoryPolicy
from gateway.agents.history import Bounds, trim

SAID = [
    {"role": "user", "content": "a" * 30},
    {"role": "assistant", "content": "b" * 30},
    {"role": "user", "content": "c" * 30},
    {"role": "assistant", "content": "d" * 30},
]


@pytest.mark.parametrize(
    ("bounds", "first"),
    [
        (Bounds(40), 0),
        (Bounds(39), 2),
        (Bounds(20), 2),
        (Bounds(10), 4),
        (Bounds(40, 4), 0),
        (Bounds(40, 3), 2),
        (Bounds(40, 1), 4),
        (Bounds(40, 0), 4),
        (Bounds(0), 4),
    ],
)
def test_the_newest_fit_and_begin_with_a_user(bounds: Bounds, first: int) -> None:
    assert trim(SAID, bounds) == SAID[first:]


def test_a_policy_bounds_what_the_service_would_give() -> None:
    assert Bounds.of(HistoryPolicy(), 2000) == Bounds(2000)
    assert Bounds.of(HistoryPolicy(messages=6, tokens=100), 2000) == Bounds(100, 6)
    assert Bounds(100, 6).half == Bounds(50, 3)
