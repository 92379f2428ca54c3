import pytest

from gateway.govern.limits_headers import duration, refusal, standing_headers
from gateway.govern.limits_rules import Limit
from gateway.govern.limits_steps import Outcome

REQUESTS = Limit("client", "app", "requests_per_minute", 10, "c")
DAY = Limit("tenant", "acme", "tokens_per_day", 1000, "t")
MINUTE = Limit("key", "key-1", "tokens_per_minute", 100, "k")


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "0s"),
        (1, "1ms"),
        (999, "999ms"),
        (1000, "1s"),
        (1500, "1.5s"),
        (60_000, "1m0s"),
        (60_250, "1m0.25s"),
        (360_000, "6m0s"),
        (86_399_001, "23h59m59.001s"),
    ],
)
def test_times_are_written_as_openai_does(milliseconds: int, text: str) -> None:
    assert duration(milliseconds) == text


def test_what_is_nearest_to_its_limit_is_told() -> None:
    standings = [(REQUESTS, 9, 60_000), (DAY, 500, 7_200_000), (MINUTE, 20, 60_000)]
    assert standing_headers(standings) == {
        "x-ratelimit-limit-requests": "10",
        "x-ratelimit-remaining-requests": "9",
        "x-ratelimit-reset-requests": "1m0s",
        "x-ratelimit-limit-tokens": "100",
        "x-ratelimit-remaining-tokens": "20",
        "x-ratelimit-reset-tokens": "1m0s",
    }


def test_a_refusal_says_which_limit_of_whom_and_when_to_come_back() -> None:
    error = refusal([(MINUTE, 5)], Outcome(0, 1400, []), 0)
    assert (error.status, error.code) == (429, "rate_limit_exceeded")
    assert error.message == (
        "the limit of 100 tokens per minute of key `key-1` is reached: try again in 1.4s"
    )
    assert error.headers == {
        "x-naru-reason": "key_tokens_per_minute",
        "retry-after": "2",
        "retry-after-ms": "1400",
        "x-should-retry": "true",
    }


def test_what_never_fits_is_not_to_be_tried_again() -> None:
    error = refusal([(MINUTE, 101)], Outcome(0, None, []), 0)
    assert "101 tokens" in error.message
    assert error.headers == {
        "x-naru-reason": "key_tokens_per_minute",
        "x-should-retry": "false",
    }
