"""A provider's keys, used in turn; one that is refused or at its limit rests."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from config.named_files import read_keys
from config.targets import ProviderSettings
from gateway.errors import GatewayError, Overloaded
from gateway.generation.breaker import pause_s
from gateway.generation.http1 import header_lines

_REFUSED_REST_S = 300.0
_LIMIT_REST_S = 1.0
_REFUSED = ("upstream_status_401", "upstream_status_403")


@dataclass(slots=True)
class Key:
    """A key; `lines` are the headers that it is sent as."""

    lines: bytes
    rests_until: float = 0.0


class Keys:
    """The keys of one provider, as one of its models uses them.

    Raises:
        ValueError: The file that holds them can't be read, or holds none.
    """

    def __init__(
        self, settings: ProviderSettings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        azure = settings.kind == "azure"
        self._keys = [
            Key(header_lines({"api-key": key} if azure else {"authorization": f"Bearer {key}"}))
            for key in _texts(settings)
        ] or [Key(b"")]
        self._clock = clock
        self._next = 0

    def in_turn(self) -> Sequence[Key]:
        """Return the keys that do not rest, another first each time; one at least."""
        count = len(self._keys)
        if count == 1:
            return self._keys
        turn = [self._keys[(self._next + i) % count] for i in range(count)]
        self._next = (self._next + 1) % count
        now = self._clock()
        rested = [key for key in turn if key.rests_until <= now]
        return rested or [min(turn, key=lambda key: key.rests_until)]

    def rest(self, key: Key, error: GatewayError) -> bool:
        """Let a key rest when the error is about it; tell whether it is."""
        if isinstance(error, Overloaded):
            pause = pause_s(error.headers)
            rest_s = _LIMIT_REST_S if pause is None else pause
        elif error.code in _REFUSED:
            rest_s = _REFUSED_REST_S
        else:
            return False
        key.rests_until = self._clock() + rest_s
        return True


def _texts(settings: ProviderSettings) -> list[str]:
    if settings.api_keys_file:
        return read_keys(settings.api_keys_file)
    keys = (settings.api_key, *settings.api_keys) if settings.api_key else settings.api_keys
    return [key.get_secret_value() for key in keys]
