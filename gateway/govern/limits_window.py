"""What this process alone lets through: counted always, asked while Redis is away."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from gateway.govern.limits_rules import Counting, Demands, Limit
from gateway.govern.limits_shares import Shares
from gateway.govern.limits_steps import Outcome, Past, Standing, now_ms

_RETRY_MS = 1000


@dataclass(slots=True)
class Window:
    """Amounts of the last buckets, by a clock that never goes back: slide, then read."""

    counting: Counting
    sum: int = 0
    amounts: dict[int, int] = field(default_factory=dict)

    def slide(self, now_ms: int) -> int:
        """Leave out what is too old; return the present bucket."""
        at = now_ms // self.counting.width_ms
        oldest = at - self.counting.buckets
        for bucket in list(self.amounts):
            if bucket >= oldest:
                break
            self.sum -= self.amounts.pop(bucket)
        return at

    def add(self, bucket: int, amount: int) -> None:
        """Count an amount; a bucket that has left the window counts no more."""
        held = self.amounts.get(bucket, 0)
        if held + amount < 0:
            amount = -held
        if amount:
            self.amounts[bucket] = held + amount
            self.sum += amount

    def wait_ms(self, amount: int, now_ms: int) -> int:
        """Return how long until so much has left the window."""
        left = 0
        for bucket, held in self.amounts.items():
            left += held
            if left >= amount:
                end = (bucket + self.counting.buckets + 1) * self.counting.width_ms
                return end - now_ms
        return (self.counting.buckets + 1) * self.counting.width_ms


class Here:
    """The counters of one process.

    Attributes:
        catch_up: Called before anybody looks at them, as that of `Shares`.
    """

    def __init__(self, clock_ms: Callable[[], int] = now_ms) -> None:
        self.catch_up: Callable[[], None] = lambda: None
        self._clock_ms = clock_ms
        self._windows: dict[str, Window] = {}
        self._under_way: dict[str, int] = {}

    def take(self, demands: Demands) -> int:
        """Count what was reserved; return the time at which that was."""
        now = self._clock_ms()
        for limit, amount in demands:
            if limit.counting.kind == "c":
                self.hold(limit, amount)
            else:
                self.add(limit, amount, now)
        return now

    def settle(self, demands: Demands, at_ms: int, tokens: int) -> None:
        """Count what was taken in the place of what was reserved at `at_ms`."""
        for limit, reserved in demands:
            if limit.counting.kind == "c":
                self.hold(limit, -reserved)
            elif limit.counting.kind == "t":
                when = at_ms if tokens < reserved else self._clock_ms()
                self.add(limit, tokens - reserved, when)

    def add(self, limit: Limit, amount: int, at_ms: int) -> None:
        """Count an amount at a time; less than none takes back what was counted then."""
        self._window(limit).add(at_ms // limit.counting.width_ms, amount)

    def hold(self, limit: Limit, amount: int) -> None:
        """Count what began, less what ended."""
        self._under_way[limit.counter] = self._under_way.get(limit.counter, 0) + amount

    def look(
        self, demands: Demands, workers: int, shares: Shares | None = None, away_ms: int = 0
    ) -> Outcome:
        """Tell whether there is room without Redis, which has been away for so long.

        Where nobody knows, a process has one of `workers` parts, and who is the only one to ask may
        ask for more than a part.
        """
        self.catch_up()
        now = self._clock_ms()
        refusing, wait, standings = None, 0, []
        for place, (limit, amount) in enumerate(demands):
            used = self._used(limit, now)
            if amount > limit.most:
                return Outcome(place, None, [])
            part = limit.most // workers
            room = shares.alone(limit, used, part, away_ms) if shares else None
            if room is None:
                room = max(part, amount if used == 0 else 0) - used
            wait_ms = self._wait_ms(limit, amount - room, now)
            if amount > room and wait_ms >= wait:
                refusing, wait = place, wait_ms
            standings.append(Standing(max(room - amount, 0), 0, limit.counting.span_ms))
        return Outcome(refusing, wait if refusing is not None else 0, standings)

    def past(self, open_: Iterable[tuple[Demands, int]]) -> list[Past]:
        """Return what is counted, without the tokens of what is under way, and since when."""
        self.catch_up()
        now = self._clock_ms()
        for window in self._windows.values():
            window.slide(now)
        counted = {counter: dict(each.amounts) for counter, each in self._windows.items()}
        for demands, at_ms in open_:
            for limit, amount in demands:
                amounts = counted.get(limit.counter, {})
                bucket = at_ms // limit.counting.width_ms
                if limit.counting.kind == "t" and bucket in amounts:
                    amounts[bucket] -= amount
        return [
            Past(counter, how, max(now - (bucket + 1) * how.width_ms, 0), amount)
            for counter, amounts in counted.items()
            for how in (self._windows[counter].counting,)
            for bucket, amount in amounts.items()
            if amount > 0
        ]

    def taken(self, limit: Limit) -> int:
        """Return what this process counts within the window."""
        self.catch_up()
        window = self._window(limit)
        window.slide(self._clock_ms())
        return window.sum

    def sweep(self) -> None:
        """Forget what is empty."""
        self.catch_up()
        now = self._clock_ms()
        for counter, window in list(self._windows.items()):
            window.slide(now)
            if not window.sum:
                del self._windows[counter]
        self._under_way = {counter: held for counter, held in self._under_way.items() if held}

    def _used(self, limit: Limit, now: int) -> int:
        if limit.counting.kind == "c":
            return self._under_way.get(limit.counter, 0)
        window = self._window(limit)
        window.slide(now)
        return window.sum

    def _wait_ms(self, limit: Limit, over: int, now: int) -> int:
        if limit.counting.kind == "c":
            return _RETRY_MS
        return self._window(limit).wait_ms(over, now) if over > 0 else 0

    def _window(self, limit: Limit) -> Window:
        window = self._windows.get(limit.counter)
        if window is None:
            window = self._windows[limit.counter] = Window(limit.counting)
        return window
