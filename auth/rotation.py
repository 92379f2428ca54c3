"""Signing keys in PostgreSQL, sealed: made, read, rotated, removed, each under one lock.

A new key is published before it signs, and an old one until its last token is dead.
"""

import asyncio
import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import asyncpg
import msgspec

from auth.secrets import SecretBox
from auth.signing import CLOCKS_S, MAX_TTL_S, Algorithm, SigningKey
from config.postgres import Connection, Database, load_queries
from config.settings import AuthSettings

_LOCK = 0x6E617275_6B657973  # "narukeys"
_TIMEOUT_S = 10.0
_SQL = load_queries("auth", "rotation.sql")


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

    Raises:
        ConfigError: The keys there are were sealed with another secret key.
    """
    async with asyncio.timeout(_TIMEOUT_S), db.acquire() as con, con.transaction():
        rows = await _lock(con, settings)
        return await _create(con, box, rows, settings.algorithm, 0 if now else settings.key_lead_s)


async def remove_signing_key(
    db: asyncpg.Pool, box: SecretBox, settings: AuthSettings, kid: str
) -> bool:
    """Remove a key that can't be trusted any more; announce it. False: there is none of this id.

    Its tokens are dead as soon as a process knows. If it was the one that signs, a new one does at
    once.

    Raises:
        ConfigError: A new one is needed, and the others were sealed with another secret key.
    """
    async with asyncio.timeout(_TIMEOUT_S), db.acquire() as con, con.transaction():
        rows = await _lock(con, settings)
        signing = _signing(rows, settings.algorithm)
        if await con.execute(_SQL["remove_signing_key"], kid) == "DELETE 0":
            return False
        if signing is not None and signing["kid"] == kid:
            await _create(con, box, rows, settings.algorithm, 0)
    return True


async def clear_signing_keys(db: Database, settings: AuthSettings) -> None:
    """Delete the keys whose last token is dead."""
    async with asyncio.timeout(_TIMEOUT_S):
        life_s = MAX_TTL_S + 2 * CLOCKS_S
        await db.execute(_SQL["clear_signing_keys"], settings.algorithm, life_s)


async def read_signing_keys(
    db: asyncpg.Pool, box: SecretBox, settings: AuthSettings, known: Mapping[str, SigningKey]
) -> list[SigningKey]:
    """Return every key, the one that signs first; make the next when it is time.

    Those in `known`, by their id, are not unsealed again.

    Raises:
        ConfigError: They were sealed with another secret key.
    """
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


async def _lock(con: Connection, settings: AuthSettings) -> list[asyncpg.Record]:
    """Return all keys, which nobody else changes until the transaction ends."""
    await con.execute(_SQL["lock_signing_keys"], _LOCK)
    return await con.fetch(_SQL["read_signing_keys"], settings.key_max_age_days)


async def _make_next(
    db: asyncpg.Pool, box: SecretBox, settings: AuthSettings
) -> list[asyncpg.Record]:
    """Make the next key, unless another process just did; return all."""
    async with db.acquire() as con, con.transaction():
        rows = await _lock(con, settings)
        if _needs_next(rows, settings.algorithm):
            # Nothing has to be known beforehand of the first.
            await _create(con, box, rows, settings.algorithm, settings.key_lead_s if rows else 0)
            rows = await con.fetch(_SQL["read_signing_keys"], settings.key_max_age_days)
    return rows


def _needs_next(rows: Sequence[asyncpg.Record], algorithm: str) -> bool:
    newest = next((row for row in rows if row["algorithm"] == algorithm), None)
    return newest is None or newest["old"]


def _signing(rows: Sequence[asyncpg.Record], algorithm: str) -> asyncpg.Record | None:
    """Choose the newest that may sign already, of the algorithm if there is one."""
    due = [row for row in rows if row["due"]] or rows
    return next((row for row in due if row["algorithm"] == algorithm), due[0] if due else None)


async def _create(
    con: Connection,
    box: SecretBox,
    rows: Sequence[asyncpg.Record],
    algorithm: Algorithm,
    lead_s: int,
) -> str:
    """Store a new key beside `rows`, which must open: one secret key for all of them.

    Raises:
        ConfigError: They were sealed with another.
    """
    for row in rows:
        box.open(row["private_key"], _context(row["kid"]))
    key = await asyncio.to_thread(SigningKey.generate, algorithm)
    sealed = box.seal(msgspec.json.encode(key.jwk.as_dict(private=True)), _context(key.kid))
    public = msgspec.json.encode(key.public()).decode()
    await con.execute(_SQL["create_signing_key"], key.kid, algorithm, sealed, public, lead_s)
    return key.kid


def _unseal(row: asyncpg.Record, box: SecretBox) -> SigningKey:
    kid = row["kid"]
    return SigningKey.load(kid, row["algorithm"], box.open(row["private_key"], _context(kid)))


def _context(kid: str) -> bytes:
    return b"signing key " + kid.encode()
