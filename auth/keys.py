"""The keys that sign access tokens: sealed in PostgreSQL, found by `kid`.

A new key is published before it signs, and an old one until its last token is dead.
"""

import asyncio
import datetime as dt
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Self

import asyncpg
import msgspec
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey, import_key
from joserfc.jws import JWSRegistry
from joserfc.util import urlsafe_b64encode

from auth.jose import Signed
from auth.secrets import SecretBox
from config.postgres import Connection, Database, load_queries
from config.settings import AuthSettings

Algorithm = Literal["ES256", "EdDSA", "RS256"]

MAX_TTL_S = 3600
"""Longest life of an access token."""

CLOCKS_S = 60
"""How far the clocks of two machines may be apart."""

_LOCK = 0x6E617275_6B657973  # "narukeys"
_TIMEOUT_S = 10.0
_LOOK_EVERY_S = 1.0
_LOOK_TIMEOUT_S = 5.0
_SQL = load_queries("auth", "keys.sql")
# By the name in our headers; joserfc warns of the older one (RFC 9864), which more verifiers know.
_ALGORITHMS = {
    "ES256": JWSRegistry.algorithms["ES256"],
    "EdDSA": JWSRegistry.algorithms["Ed25519"],
    "RS256": JWSRegistry.algorithms["RS256"],
}


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One key and the only algorithm it is ever used with (RFC 8725 section 3.1)."""

    kid: str
    algorithm: str
    jwk: Key = field(repr=False)

    def sign(self, payload: bytes, typ: str) -> str:
        """Return the compact JWS of `payload` (RFC 7515 section 7.1)."""
        header = msgspec.json.encode({"alg": self.algorithm, "kid": self.kid, "typ": typ})
        content = urlsafe_b64encode(header) + b"." + urlsafe_b64encode(payload)
        signature = _ALGORITHMS[self.algorithm].sign(content, self.jwk)
        return (content + b"." + urlsafe_b64encode(signature)).decode()

    def verifies(self, signed: Signed) -> bool:
        """Tell whether the signature is this key's. Its header has no say in how."""
        algorithm = _ALGORITHMS[self.algorithm]
        return algorithm.verify(signed.signing_input, signed.signature, self.jwk)


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """What may be told of a signing key.

    Attributes:
        signs_from: From when it signs, until a newer one of its algorithm does.
        state: `next` is published only, `retired` verifies what it has signed.
    """

    kid: str
    algorithm: str
    created_at: dt.datetime
    signs_from: dt.datetime
    state: Literal["next", "signing", "retired"]


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
            return await _read_keys(db, box, settings, known)

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
        return {"keys": [_public(key.jwk) for key in self._by_kid.values()]}

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


async def list_signing_keys(db: Database) -> list[KeyInfo]:
    """Return every signing key, the newest first."""
    async with asyncio.timeout(_TIMEOUT_S):
        return [KeyInfo(**row) for row in await db.fetch(_SQL["list_signing_keys"])]


async def rotate_signing_key(
    db: asyncpg.Pool, box: SecretBox, settings: AuthSettings, *, now: bool = False
) -> str:
    """Make the next key and return its id. It is published at once; announce it.

    Args:
        db: Where the keys are.
        box: Seals it.
        settings: Its algorithm, and how long it is published before it signs.
        now: It signs at once. Verifiers elsewhere that remember the JWKS don't know it yet.
    """
    async with asyncio.timeout(_TIMEOUT_S), db.acquire() as con, con.transaction():
        await con.execute(_SQL["lock_signing_keys"], _LOCK)
        return await _create(con, box, settings.algorithm, 0 if now else settings.key_lead_s)


async def remove_signing_key(
    db: asyncpg.Pool, box: SecretBox, settings: AuthSettings, kid: str
) -> bool:
    """Remove a key that can't be trusted any more; announce it. False: there is none of this id.

    Its tokens are dead as soon as a process knows. If it was the one that signs, a new one does at
    once.
    """
    async with asyncio.timeout(_TIMEOUT_S), db.acquire() as con, con.transaction():
        await con.execute(_SQL["lock_signing_keys"], _LOCK)
        rows = await con.fetch(_SQL["read_signing_keys"], settings.key_max_age_days)
        signing = _signing(rows, settings.algorithm)
        if await con.execute(_SQL["remove_signing_key"], kid) == "DELETE 0":
            return False
        if signing is not None and signing["kid"] == kid:
            await _create(con, box, settings.algorithm, 0)
    return True


async def clear_signing_keys(db: Database, settings: AuthSettings) -> None:
    """Delete the keys whose last token is dead."""
    async with asyncio.timeout(_TIMEOUT_S):
        life_s = MAX_TTL_S + 2 * CLOCKS_S
        await db.execute(_SQL["clear_signing_keys"], settings.algorithm, life_s)


async def _read_keys(
    db: asyncpg.Pool, box: SecretBox, settings: AuthSettings, known: Mapping[str, SigningKey]
) -> list[SigningKey]:
    async with asyncio.timeout(_TIMEOUT_S):
        rows = await db.fetch(_SQL["read_signing_keys"], settings.key_max_age_days)
        if _needs_next(rows, settings.algorithm):
            rows = await _make_next(db, box, settings)
        signing = _signing(rows, settings.algorithm)
        rows.sort(key=lambda row: row is not signing)
        # An RSA key takes a while to unseal.
        new = {
            row["kid"]: await asyncio.to_thread(_unseal, row, box)
            for row in rows
            if row["kid"] not in known
        }
    return [new.get(row["kid"]) or known[row["kid"]] for row in rows]


async def _make_next(
    db: asyncpg.Pool, box: SecretBox, settings: AuthSettings
) -> list[asyncpg.Record]:
    """Make the next key, unless another process just did; return all."""
    async with db.acquire() as con, con.transaction():
        await con.execute(_SQL["lock_signing_keys"], _LOCK)
        rows = await con.fetch(_SQL["read_signing_keys"], settings.key_max_age_days)
        if _needs_next(rows, settings.algorithm):
            # Nothing has to be known beforehand of the first.
            await _create(con, box, settings.algorithm, settings.key_lead_s if rows else 0)
            rows = await con.fetch(_SQL["read_signing_keys"], settings.key_max_age_days)
    return rows


def _needs_next(rows: Sequence[asyncpg.Record], algorithm: str) -> bool:
    newest = next((row for row in rows if row["algorithm"] == algorithm), None)
    return newest is None or newest["old"]


def _signing(rows: Sequence[asyncpg.Record], algorithm: str) -> asyncpg.Record | None:
    """Choose the newest that may sign already, of the algorithm if there is one."""
    due = [row for row in rows if row["due"]] or rows
    return next((row for row in due if row["algorithm"] == algorithm), due[0] if due else None)


async def _create(con: Connection, box: SecretBox, algorithm: Algorithm, lead_s: int) -> str:
    # An RSA key takes up to a second to find.
    jwk = await asyncio.to_thread(_generate, algorithm)
    kid = jwk.thumbprint()
    private = msgspec.json.encode(jwk.as_dict(private=True))
    public = msgspec.json.encode(_public(_load(kid, algorithm, private).jwk)).decode()
    sealed = box.seal(private, _context(kid))
    await con.execute(_SQL["create_signing_key"], kid, algorithm, sealed, public, lead_s)
    return kid


def _generate(algorithm: Algorithm) -> Key:
    match algorithm:
        case "ES256":
            return ECKey.generate_key("P-256")
        case "EdDSA":
            return OKPKey.generate_key("Ed25519")
        case "RS256":
            return RSAKey.generate_key(2048)


def _unseal(row: asyncpg.Record, box: SecretBox) -> SigningKey:
    kid = row["kid"]
    return _load(kid, row["algorithm"], box.open(row["private_key"], _context(kid)))


def _load(kid: str, algorithm: str, private: bytes) -> SigningKey:
    values = msgspec.json.decode(private, type=dict[str, str | list[str]])
    values |= {"kid": kid, "alg": algorithm, "use": "sig"}
    return SigningKey(kid, algorithm, import_key(values))


def _public(jwk: Key) -> dict[str, object]:
    return dict(jwk.as_dict(private=False))


def _context(kid: str) -> bytes:
    return b"signing key " + kid.encode()
