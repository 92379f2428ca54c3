"""Keeps requests away from a target that fails, and finds out when it works again."""

import contextlib
import email.utils
import random
import time
from collections import deque
from collections.abc import Callable, Mapping

from gateway.errors import GatewayError, Overloaded, Unavailable, UpstreamError, UpstreamRefused

_IN_A_ROW = 5
_WINDOW_S = 30.0
_FEWEST = 20
_SHARE = 0.5
_FIRST_REST_S = 2.0
_LONGEST_REST_S = 60.0
_LONGEST_PAUSE_S = 600.0
_PROBE_S = 1.0


class Breaker:
    """Opens after 5 failures in a row, or when half of at least 20 requests in 30 s failed.

    It rests 2 s, doubling to a minute, then lets one request through: its success closes it. A
    `Retry-After` of the target is kept to as well, up to 10 minutes.
    """

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._clock = clock
        self._plain, self._probe = _Attempt(self, probe=False), _Attempt(self, probe=True)
        self.reset()

    def reset(self) -> None:
        """Forget every failure: the target is known to work."""
        self._recent: deque[tuple[float, bool]] = deque(maxlen=100)
        self._in_a_row = 0
        self._trips = 0
        self._closed_until = 0.0
        self._probing = False

    @property
    def wait_s(self) -> float:
        """Return how long no request may go; 0 when one may."""
        if not self._closed_until:
            return 0.0
        wait = self._closed_until - self._clock()
        if wait > 0:
            return wait
        return _PROBE_S if self._trips and self._probing else 0.0

    def attempt(self) -> "_Attempt":
        """Return a context that watches one request to the target.

        Raises:
            Unavailable: None may go at the moment.
        """
        if (wait := self.wait_s) > 0:
            message = f"{self._name} rests after failures"
            raise Unavailable(message, code="target_rests", headers=retry_after(wait))
        if not self._trips:
            return self._plain
        self._probing = True
        return self._probe

    def end(self, error: BaseException | None, *, probe: bool) -> None:
        """Count how an attempt ended; one that was cut off says nothing."""
        if error is None or (isinstance(error, GatewayError) and not at_fault(error)):
            self._recent.append((self._clock(), False))
            self._in_a_row = 0
            if self._trips and self.wait_s <= _PROBE_S:
                self.reset()
        elif isinstance(error, GatewayError):
            self.fail(error)
        if probe:
            self._probing = False

    def fail(self, error: GatewayError) -> None:
        """Count a failure."""
        now = self._clock()
        self._recent.append((now, True))
        self._in_a_row += 1
        if (pause := pause_s(error.headers)) is not None:
            self._closed_until = max(self._closed_until, now + pause)
        elif self._trips or self._in_a_row >= _IN_A_ROW or self._too_many(now):
            self._trip(now)

    def _trip(self, now: float) -> None:
        if now < self._closed_until:
            return  # a request that was under way when it opened
        rest = min(_FIRST_REST_S * 2**self._trips, _LONGEST_REST_S)
        self._closed_until = now + rest * random.uniform(0.8, 1.2)  # noqa: S311 - no secret
        self._trips += 1

    def _too_many(self, now: float) -> bool:
        failed = [bad for at, bad in self._recent if now - at < _WINDOW_S]
        return len(failed) >= _FEWEST and sum(failed) >= _SHARE * len(failed)


class _Attempt:
    """One request to a breaker's target; it has no state, so that a breaker needs but two."""

    __slots__ = ("_breaker", "_probe")

    def __init__(self, breaker: Breaker, *, probe: bool) -> None:
        self._breaker = breaker
        self._probe = probe

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self._breaker.end(error, probe=self._probe)


def at_fault(error: GatewayError) -> bool:
    """Tell whether the error is the target's own, not its caller's."""
    return isinstance(error, UpstreamError | Overloaded) and not isinstance(error, UpstreamRefused)


def pause_s(headers: Mapping[str, str]) -> float | None:
    """Return for how many seconds an answer's headers ask not to be asked again (RFC 9110 10.2.3).

    At most 10 minutes; None where they say nothing that can be read.
    """
    wait: float | None = None
    with contextlib.suppress(ValueError):
        if "retry-after-ms" in headers:
            wait = float(headers["retry-after-ms"]) / 1000
        elif (text := headers.get("retry-after", "")) and text[:1].isdigit():
            wait = float(text)
        elif text:
            wait = email.utils.parsedate_to_datetime(text).timestamp() - time.time()
    # A NaN compares as false.
    return min(max(wait, 0.0), _LONGEST_PAUSE_S) if wait is not None and wait == wait else None  # noqa: PLR0124


def retry_after(wait_s: float) -> dict[str, str]:
    """Return the headers that ask to come back in `wait_s` seconds."""
    whole = max(1, -(-int(wait_s * 1000) // 1000))
    return {"retry-after": str(whole), "retry-after-ms": str(max(1, int(wait_s * 1000)))}
