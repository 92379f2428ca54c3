"""How many requests may be asked a second time."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

_WINDOW_S = 30
_SHARE = 0.2
_ALWAYS = 5


@dataclass(slots=True)
class _Second:
    at: int
    requests: int = 0
    extra: int = 0


class RetryBudget:
    """Lets a fifth of the requests of the last 30 s be asked again, and always five.

    What fails under load would otherwise be given several times that load.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seconds = deque([_Second(0)])

    def count_request(self) -> None:
        """Count a request that came in."""
        self._now().requests += 1

    def spend(self) -> bool:
        """Take one more attempt; False when there is none left."""
        now = self._now()
        requests = sum(second.requests for second in self._seconds)
        if sum(second.extra for second in self._seconds) >= max(_ALWAYS, _SHARE * requests):
            return False
        now.extra += 1
        return True

    def _now(self) -> _Second:
        at, last = int(self._clock()), self._seconds[-1]
        return last if last.at == at else self._begun(at)

    def _begun(self, at: int) -> _Second:
        """Begin a second, and forget those that are over."""
        now = _Second(at)
        self._seconds.append(now)
        while self._seconds[0].at <= at - _WINDOW_S:
            self._seconds.popleft()
        return now
