"""What `make soak` takes for a leak."""

import pytest
from soak import Held, Memory


@pytest.mark.parametrize("grows", [0.0, 3.0])
def test_memory_that_comes_and_goes_is_no_slope(grows: float):
    memory = Memory()
    for second in range(3600):
        peak = 20.0 if second % 60 == 0 else 0.0
        memory.add(second, 100 + grows * second / 3600 + peak)
    assert memory.slope == pytest.approx(grows, abs=0.1)


def test_memory_of_caches_that_fill_is_no_slope():
    memory = Memory()
    for second in range(3600):
        memory.add(second, 100 + min(second, 1200) / 60)
    assert memory.slope == pytest.approx(0, abs=0.1)


def test_what_is_held_longer_than_a_pool_would_is_told_by_name():
    before = Held({"a": 30}, {"a": 4}, {"web-1": 20})
    assert not Held({"a": 35}, {"a": 4}, {"web-1": 20}).more_than(before)
    told = Held({"a": 30}, {"a": 4}, {"web-1": 60, "jobs": 1}).more_than(before)
    assert told == ["web-1: 60 tasks, 20 before"]
