"""The keys that sign and verify access tokens, as one process knows them."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Self

import asyncpg

from auth.rotation import read_signing_keys
from auth.secrets import SecretBox
from auth.signing import SigningKey
from config.settings import AuthSettings

_LOOK_EVERY_S = 1.0
_LOOK_TIMEOUT_S = 5.0

Read = Callable[[Mapping[str, SigningKey]], Awaitable[Sequence[SigningKey]]]
"""Returns every key, the one that signs first; takes those known, to unseal only what is new."""


class SigningKeys:
    """Every key of this service, as one process knows them; one signs, all verify.

    `await SigningKeys.load(…)` makes one that follows the database when it is told to `refresh`.
    """

    def __init__(self, keys: Sequence[SigningKey], read: Read) -> None:
        self._read = read
        self._reading = asyncio.Lock()
        self._read_at = time.monotonic()
        self._by_kid: dict[str, SigningKey] = {}
        self._gone: set[str] = set()
        self._take(keys)

    @classmethod
    async def load(cls, db: asyncpg.Pool, box: SecretBox, settings: AuthSettings) -> Self:
        """Read the keys; make one when there is none.

        Processes that start at once end up with the same key.

        Raises:
            ConfigError: The keys were sealed with another secret key.
        """

        async def read(known: Mapping[str, SigningKey]) -> list[SigningKey]:
            return await read_signing_keys(db, box, settings, known)

        return cls(await read({}), read)

    async def refresh(self) -> None:
        """Take over what other processes made or removed; make the next key when it is time.

        Raises:
            asyncpg.PostgresError, asyncpg.InterfaceError, OSError: The store failed.
        """
        async with self._reading:
            await self._refresh()

    async def look_up(self, kid: str) -> SigningKey | None:
        """Return a key that another process may just have made, or None.

        The store is asked at most once a second, however many unknown ids come; who comes in
        between waits for the next time. Raises what `refresh` does.
        """
        asked = time.monotonic()
        if kid in self._gone:
            return None
        async with asyncio.timeout(_LOOK_TIMEOUT_S), self._reading:
            if self.find(kid) is None and self._read_at < asked:
                await asyncio.sleep(self._read_at + _LOOK_EVERY_S - time.monotonic())
                await self._refresh()
        return self.find(kid)

    def jwks(self) -> dict[str, list[dict[str, object]]]:
        """Return the JWK Set (RFC 7517) of all public halves."""
        return {"keys": [key.public() for key in self._by_kid.values()]}

    @property
    def algorithms(self) -> frozenset[str]:
        """Return what they sign with, each key with one of them."""
        return frozenset(key.algorithm for key in self._by_kid.values())

    def sign(self, payload: bytes, typ: str) -> str:
        """Return the compact JWS of `payload`, signed with the current key."""
        return self._current.sign(payload, typ)

    def find(self, kid: str) -> SigningKey | None:
        """Return the key with this id, or None."""
        return self._by_kid.get(kid)

    async def _refresh(self) -> None:
        started = time.monotonic()
        self._take(await self._read(self._by_kid))
        self._read_at = started

    def _take(self, keys: Sequence[SigningKey]) -> None:
        self._current = keys[0]
        current = {key.kid: key for key in keys}
        self._gone |= self._by_kid.keys() - current.keys()
        self._by_kid = current
