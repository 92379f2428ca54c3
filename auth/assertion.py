"""`private_key_jwt`: a client signs who it is (RFC 7523 section 3, tightened by RFC 10070)."""

import datetime as dt
import json
import time
from typing import Annotated, Any, Literal, get_args

import msgspec

from auth.clients import Client
from auth.jose import NumericDate, PublicKey, Signed, decode, public_key
from auth.once import first_use
from config.postgres import Database

TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
Algorithm = Literal["ES256", "ES384", "ES512", "EdDSA", "PS256", "RS256"]
ALGORITHMS: tuple[Algorithm, ...] = get_args(Algorithm)
"""What clients may be allowed to sign with; what metadata advertises."""

MAX_LIFE_S = 300
"""How far ahead an assertion may expire."""

_LEEWAY_S = 60
_CLOCKS_S = 5
_MAX_CHARS = 16_384
_MEDIA_TYPES = {"client-authentication+jwt", "application/client-authentication+jwt"}


class _Claims(msgspec.Struct, frozen=True):
    iss: str
    sub: str
    aud: str | tuple[str]
    exp: NumericDate
    jti: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    iat: NumericDate = 0
    nbf: NumericDate = 0


def claimed_client(assertion: str) -> str:
    """Return whom an assertion says it is of, unverified; empty when it can't be read."""
    signed = _read(assertion)
    subject = signed.claims.get("sub") if signed else None
    return subject if isinstance(subject, str) else ""


async def check(db: Database, assertion: str, client: Client, *, audience: str) -> bool:
    """Tell whether the client made this assertion for us, just now; a good one is used up.

    Args:
        db: Where the used ones are remembered.
        assertion: A compact JWS; any text is a valid question.
        client: Whose keys and algorithms count.
        audience: The only audience it may name.

    Raises:
        asyncpg.PostgresError, asyncpg.InterfaceError, OSError: The store failed.
    """
    signed = _read(assertion)
    if signed is None or not _signed_by(client, signed):
        return False
    try:
        claims = msgspec.convert(signed.claims, _Claims)
    except ValueError:
        return False
    return _holds(claims, client.id, audience) and await _use_up(db, claims)


def _read(assertion: str) -> Signed | None:
    if len(assertion) > _MAX_CHARS:
        return None
    try:
        return decode(assertion)
    except ValueError:
        return None


def _signed_by(client: Client, signed: Signed) -> bool:
    header = signed.header
    media_type = header.get("typ")
    if media_type is not None and str(media_type).lower() not in _MEDIA_TYPES:
        return False
    # The registered keys alone; those in the header, or addresses of such, are never looked at.
    kid = header.get("kid")
    candidates = [jwk for jwk in _keys(client) if kid is None or jwk.get("kid") == kid]
    return any(
        key.verifies(signed, client.assertion_algorithms)
        for key in map(_usable, candidates)
        if key is not None
    )


def _keys(client: Client) -> list[dict[str, Any]]:
    return list(client.jwks["keys"]) if client.jwks else []


def _usable(jwk: dict[str, Any]) -> PublicKey | None:
    try:
        return public_key(jwk)
    except ValueError:
        return None


def _holds(claims: _Claims, client_id: str, audience: str) -> bool:
    now = time.time()
    only_audience = claims.aud if isinstance(claims.aud, str) else claims.aud[0]
    return (
        claims.iss == claims.sub == client_id
        and only_audience == audience
        and now < claims.exp <= now + MAX_LIFE_S + _CLOCKS_S
        and max(claims.iat, claims.nbf) <= now + _LEEWAY_S
    )


async def _use_up(db: Database, claims: _Claims) -> bool:
    expires = dt.datetime.fromtimestamp(claims.exp + _LEEWAY_S, dt.UTC)
    return await first_use(db, json.dumps(["assertion", claims.sub, claims.jti]), expires)
