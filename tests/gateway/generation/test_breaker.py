"""When a target rests, and when it is asked again."""

import contextlib
import email.utils
import time

import pytest

from gateway.errors import GatewayError, Overloaded, Unavailable, UpstreamError, UpstreamRefused
from gateway.generation.breaker import Breaker, pause_s

DOWN = UpstreamError("down", code="upstream_status_500")
REFUSED = UpstreamRefused(400, "bad", param=None, code=None)


class _Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> _Clock:
    return _Clock()


@pytest.fixture
def breaker(clock: _Clock) -> Breaker:
    return Breaker("t", clock)


def _ask(breaker: Breaker, error: BaseException | None = None) -> bool:
    """Tell whether the request went out."""
    kinds = (type(error),) if error else ()
    try:
        with contextlib.suppress(*kinds), breaker.attempt():
            _end_with(error)
    except Unavailable:
        return False
    return True


def _end_with(error: BaseException | None) -> None:
    if error:
        raise error


def test_five_failures_in_a_row_open_it_and_one_success_closes_it(
    breaker: Breaker, clock: _Clock
) -> None:
    assert [_ask(breaker, DOWN) for _ in range(7)] == [True] * 5 + [False] * 2
    clock.now += 3
    with breaker.attempt():
        assert not _ask(breaker), "one request probes, the others wait"
    assert breaker.wait_s == 0
    assert _ask(breaker)


def test_a_probe_that_fails_doubles_the_rest_up_to_a_minute(
    breaker: Breaker, clock: _Clock
) -> None:
    rests = []
    for _ in range(5):
        _ask(breaker, DOWN)
    for _ in range(9):
        rests.append(breaker.wait_s)
        clock.now += breaker.wait_s
        assert _ask(breaker, DOWN)
    assert rests[:4] == pytest.approx([2, 4, 8, 16], rel=0.21)
    assert 48 <= max(rests) <= 72


def test_a_probe_whose_caller_leaves_lets_the_next_one_probe(
    breaker: Breaker, clock: _Clock
) -> None:
    for _ in range(5):
        _ask(breaker, DOWN)
    clock.now += 3
    assert _ask(breaker, KeyboardInterrupt())
    assert breaker.wait_s == 0
    assert _ask(breaker, DOWN)
    assert breaker.wait_s > 3


def test_half_of_many_open_it(breaker: Breaker) -> None:
    went = [_ask(breaker, DOWN if i % 2 else None) for i in range(30)]
    assert went[:20] == [True] * 20
    assert not any(went[20:])


def test_old_failures_are_forgotten(breaker: Breaker, clock: _Clock) -> None:
    for i in range(60):
        assert _ask(breaker, DOWN if i % 2 else None)
        clock.now += 3


@pytest.mark.parametrize("error", [REFUSED, ValueError()])
def test_the_callers_own_faults_do_not_count(breaker: Breaker, error: Exception) -> None:
    assert all(_ask(breaker, error) for _ in range(50))


def test_failures_under_way_when_it_opened_do_not_prolong_it(breaker: Breaker) -> None:
    for _ in range(5):
        _ask(breaker, DOWN)
    wait = breaker.wait_s
    for _ in range(100):
        breaker.fail(DOWN)
    assert breaker.wait_s == pytest.approx(wait)


def test_retry_after_is_kept_to(breaker: Breaker, clock: _Clock) -> None:
    limited: GatewayError = Overloaded("full", headers={"retry-after": "7"})
    assert _ask(breaker, limited)
    assert breaker.wait_s == pytest.approx(7)
    with pytest.raises(Unavailable) as caught, breaker.attempt():
        pass
    assert caught.value.headers == {"retry-after": "7", "retry-after-ms": "7000"}
    clock.now += 7
    assert _ask(breaker)


@pytest.mark.parametrize(
    ("headers", "pause"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3),
        ({"retry-after": "0"}, 0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "99999999"}, 600),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "-5"}, 0),
        ({"retry-after": "soon"}, None),
        ({"retry-after-ms": "nan"}, None),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
    ],
)
def test_how_long_to_wait(headers: dict[str, str], pause: float | None) -> None:
    assert pause_s(headers) == pause


def test_a_date_says_how_long_to_wait() -> None:
    date = email.utils.formatdate(time.time() + 60, usegmt=True)
    assert pause_s({"retry-after": date}) == pytest.approx(60, abs=2)
