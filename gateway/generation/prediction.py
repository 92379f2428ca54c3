"""When an engine's first token is to be expected."""

_MEMORY = 0.97
_LEAST_SPREAD = 50.0**2


class FirstTokenTimes:
    """A line through what was seen: seconds to the first token over tokens to read before it.

    Least squares, in which every sample counts 3 % less than the next. Prompts of about one length
    tell nothing of longer ones, so the line through them is flat.
    """

    def __init__(self) -> None:
        self._weight = 0.0
        self._x = self._y = self._xx = self._xy = 0.0

    def record(self, tokens: float, seconds: float) -> None:
        """Take a sample."""
        self._weight = _MEMORY * self._weight + 1
        self._x = _MEMORY * self._x + tokens
        self._y = _MEMORY * self._y + seconds
        self._xx = _MEMORY * self._xx + tokens * tokens
        self._xy = _MEMORY * self._xy + tokens * seconds

    @property
    def mean_tokens(self) -> float:
        """Return how many tokens lay before a first token, on average."""
        return self._x / self._weight if self._weight else 0.0

    def expect(self, tokens: float) -> float:
        """Return the seconds; 0 before the first sample."""
        if not self._weight:
            return 0.0
        mean_x, mean_y = self.mean_tokens, self._y / self._weight
        spread = self._xx / self._weight - mean_x * mean_x
        slope = (self._xy / self._weight - mean_x * mean_y) / (spread + _LEAST_SPREAD)
        return max(mean_y + max(slope, 0.0) * (tokens - mean_x), 0.0)
