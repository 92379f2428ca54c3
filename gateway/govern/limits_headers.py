"""How limits are told: OpenAI's headers, and its error object."""

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache

from gateway.errors import LimitReached
from gateway.govern.limits_rules import Limit
from gateway.govern.limits_shares import Remaining
from gateway.govern.limits_steps import Outcome
from gateway.observe import metrics


def standing_headers(left: Iterable[Remaining]) -> dict[str, str]:
    """Return how the caller stands at the limits that it is nearest to."""
    requests = tokens = None
    fewest_requests = fewest_tokens = 2.0
    for each in left:
        limit, remaining, _ = each
        kind, part = limit.counting.kind, remaining / limit.most
        if kind == "q" and part < fewest_requests:
            fewest_requests, requests = part, each
        elif kind == "t" and part < fewest_tokens:
            fewest_tokens, tokens = part, each
    return nearest_headers(requests, tokens)


def nearest_headers(requests: Remaining | None, tokens: Remaining | None) -> dict[str, str]:
    """Return how the caller stands at these limits, if there are any."""
    told = {}
    if requests:
        limit, remaining, reset_ms = requests
        told["x-ratelimit-limit-requests"] = f"{limit.most}"
        told["x-ratelimit-remaining-requests"] = f"{max(remaining, 0)}"
        told["x-ratelimit-reset-requests"] = duration(reset_ms)
    if tokens:
        limit, remaining, reset_ms = tokens
        told["x-ratelimit-limit-tokens"] = f"{limit.most}"
        told["x-ratelimit-remaining-tokens"] = f"{max(remaining, 0)}"
        told["x-ratelimit-reset-tokens"] = duration(reset_ms)
    return told


def refusal(demands: Sequence[tuple[Limit, int]], outcome: Outcome, place: int) -> LimitReached:
    """Return the error of a request that goes over a limit."""
    limit, amount = demands[place]
    metrics.LIMIT_REFUSALS.add(limit.measure)
    whose = limit.per.replace("_", " ")
    what = f"the limit of {limit.most:,} {limit.counting.words} of {whose} `{limit.subject[:128]}`"
    reason = {"x-naru-reason": limit.reason}
    if outcome.wait_ms is None:
        message = (
            f"{what} is less than this request may take, {amount:,} tokens: shorten the prompt or"
            " set a lower max_tokens"
        )
        return LimitReached(message, headers=reason | {"x-should-retry": "false"})
    wait_ms = max(outcome.wait_ms, 1)
    message = f"{what} is reached: try again in {duration(wait_ms)}"
    return LimitReached(message, headers=reason | retry_headers(wait_ms))


def retry_headers(wait_ms: int) -> dict[str, str]:
    """Return when to come back, as OpenAI's clients read it."""
    return {
        "retry-after": str(math.ceil(wait_ms / 1000)),
        "retry-after-ms": str(wait_ms),
        "x-should-retry": "true",
    }


@lru_cache(maxsize=1000)
def duration(milliseconds: int) -> str:
    """Return a time as OpenAI writes it: `250ms`, `1.5s`, `6m0s`, `23h59m59s`."""
    if milliseconds < 1000:
        return f"{milliseconds}ms" if milliseconds else "0s"
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{rest / 1000:g}s"
    if hours:
        return f"{hours}h{minutes}m{seconds}"
    return f"{minutes}m{seconds}" if minutes else seconds
