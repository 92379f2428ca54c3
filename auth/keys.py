"""The keys that sign access tokens: made at first start, sealed in PostgreSQL, found by `kid`."""

import asyncio
from dataclasses import dataclass, field
from typing import Self

import asyncpg
import msgspec
from joserfc import jws
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey, import_key

from auth.secrets import SecretBox
from config.errors import ConfigError
from config.postgres import Connection, load_queries

_LOCK = 0x6E617275_6B657973  # "narukeys"
_TIMEOUT_S = 10.0
_SQL = load_queries("auth", "keys.sql")


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One key and the only algorithm it is ever used with (RFC 8725 section 3.1)."""

    kid: str
    algorithm: str
    jwk: Key = field(repr=False)


class SigningKeys:
    """Every key of this service; the first signs, all verify.

    `await SigningKeys.load(…)` makes one.
    """

    def __init__(self, keys: list[SigningKey]) -> None:
        self._current = keys[0]
        self._by_kid = {key.kid: key for key in keys}

    @classmethod
    async def load(cls, db: asyncpg.Pool, box: SecretBox, algorithm: str = "ES256") -> Self:
        """Read the keys; make one when there is none for `algorithm`.

        Processes that start at once end up with the same key. `algorithm` is ES256, Ed25519
        (RFC 9864) or RS256; the newest key of that algorithm signs.

        Raises:
            ConfigError: The algorithm is not supported, or the keys were sealed with another
                secret key.
        """
        async with asyncio.timeout(_TIMEOUT_S), db.acquire() as con, con.transaction():
            await con.execute(_SQL["lock_signing_keys"], _LOCK)
            keys = [_unseal(row, box) for row in await con.fetch(_SQL["list_signing_keys"])]
            signing = [key for key in keys if key.algorithm == algorithm]
            if not signing:
                signing = [await _create(con, box, algorithm)]
        return cls(signing + [key for key in keys if key.algorithm != algorithm])

    def jwks(self) -> dict[str, list[dict[str, object]]]:
        """Return the JWK Set (RFC 7517) of all public halves."""
        return {"keys": [_public(key.jwk) for key in self._by_kid.values()]}

    def sign(self, payload: bytes, typ: str) -> str:
        """Return the compact JWS of `payload`, signed with the current key."""
        key = self._current
        header = {"alg": key.algorithm, "kid": key.kid, "typ": typ}
        return jws.serialize_compact(header, payload, key.jwk, [key.algorithm])

    def find(self, kid: str) -> SigningKey | None:
        """Return the key with this id, or None."""
        return self._by_kid.get(kid)


async def _create(con: Connection, box: SecretBox, algorithm: str) -> SigningKey:
    # An RSA key takes up to a second to find.
    jwk = await asyncio.to_thread(_generate, algorithm)
    kid = jwk.thumbprint()
    private = msgspec.json.encode(jwk.as_dict(private=True))
    key = _load(kid, algorithm, private)
    public = msgspec.json.encode(_public(key.jwk)).decode()
    sealed = box.seal(private, _context(kid))
    await con.execute(_SQL["create_signing_key"], kid, algorithm, sealed, public)
    return key


def _generate(algorithm: str) -> Key:
    match algorithm:
        case "ES256":
            return ECKey.generate_key("P-256")
        case "Ed25519":
            return OKPKey.generate_key("Ed25519")
        case "RS256":
            return RSAKey.generate_key(2048)
        case _:
            raise ConfigError(f"can't sign with {algorithm}: choose ES256, Ed25519 or RS256")


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
