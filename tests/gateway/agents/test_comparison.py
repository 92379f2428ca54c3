import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.agents.comparison import compare, wilson
from gateway.sessions.feedback import Tally


@pytest.mark.parametrize(
    ("up", "total", "low", "high"),
    # Newcombe 1998, table I (method 3): 81/263, 15/148, 0/20, 1/29.
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (0, 0, 0.0, 1.0),
    ],
)
def test_wilson(up: int, total: int, low: float, high: float) -> None:
    assert wilson(up, total) == pytest.approx((low, high), abs=5e-5)


def test_the_difference_of_two_versions() -> None:
    # Newcombe 1998 (differences), table II, method 10: 56/70 against 48/80.
    found = compare("hr", [Tally(1, 48, 32), Tally(2, 56, 14)])
    (difference,) = found.differences
    assert (difference.version, difference.than) == (2, 1)
    told = (difference.difference, difference.low, difference.high)
    assert told == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)
    assert difference.significant


def test_few_ratings_tell_nothing() -> None:
    (difference,) = compare("hr", [Tally(1, 1, 1), Tally(2, 2, 0)]).differences
    assert not difference.significant


@given(st.integers(0, 500), st.integers(0, 500), st.integers(0, 500), st.integers(0, 500))
def test_intervals_hold_their_share(up: int, down: int, other_up: int, other_down: int) -> None:
    found = compare("hr", [Tally(1, up, down), Tally(2, other_up, other_down)])
    for version in found.versions:
        if version.up + version.down:
            assert 0 <= version.low <= version.share + 1e-9
            assert version.share - 1e-9 <= version.high <= 1
    (difference,) = found.differences
    if up + down and other_up + other_down:
        assert -1 - 1e-9 <= difference.low <= difference.difference + 1e-9
