"""The curves of `make bench-growth`."""

import pytest
from growth import Curve, Point, steps


@pytest.mark.parametrize(
    ("most", "counts"), [(1_000, [1, 10, 100, 1_000]), (2_000, [1, 10, 100, 1_000, 2_000])]
)
def test_steps_end_with_the_most(most: int, counts: list[int]):
    assert steps(most) == counts


@pytest.mark.parametrize(("costs", "exponent"), [((5, 5), 0), ((5, 50), 1), ((5, 500), 2)])
def test_an_exponent_tells_how_fast_a_cost_grows(costs: tuple[float, float], exponent: float):
    points = [Point(count, cost, 1.0) for count, cost in zip((10, 100), costs, strict=True)]
    assert Curve("x", [Point(1, 1.0, 1.0), *points]).exponent == pytest.approx(exponent)
