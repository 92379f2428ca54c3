"""Access tokens as JWTs: RFC 9068, with the tenant as a claim of ours."""

import time
import uuid
from typing import Annotated

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.util import urlsafe_b64decode

from auth.errors import InvalidToken
from auth.keys import SigningKey, SigningKeys

LEEWAY_S = 60
"""How far the clocks of two replicas may be apart: a token of the other is not from the future."""

NumericDate = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
"""Whole seconds since the epoch (RFC 7519 section 2)."""

_TYPES = ("at+jwt", "application/at+jwt")


class AccessToken(msgspec.Struct, frozen=True, omit_defaults=True):
    """The claims of an access token.

    Attributes:
        scope: Space-separated, RFC 8693 section 4.2.
        tenant: Whose data it opens.
    """

    iss: str
    aud: str | tuple[str, ...]
    sub: str
    client_id: str
    iat: NumericDate
    exp: NumericDate
    jti: str
    scope: str
    tenant: str
    nbf: NumericDate | None = None


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What our tokens carry and nothing else: no `jku`, no `jwk`, no `crit` is ever looked at."""

    alg: str
    kid: str
    typ: str


_header = msgspec.json.Decoder(_Header)
_claims = msgspec.json.Decoder(AccessToken)


def issue(
    keys: SigningKeys,
    *,
    issuer: str,
    audience: str,
    tenant: str,
    client_id: str,
    scope: str,
    ttl_s: int,
) -> str:
    """Return a new signed token that dies `ttl_s` seconds from now."""
    now = int(time.time())
    claims = AccessToken(
        iss=issuer,
        aud=audience,
        sub=client_id,
        client_id=client_id,
        iat=now,
        exp=now + ttl_s,
        jti=str(uuid.uuid4()),
        scope=scope,
        tenant=tenant,
    )
    return keys.sign(msgspec.json.encode(claims), typ="at+jwt")


def read(token: str, keys: SigningKeys, *, issuer: str, audience: str) -> AccessToken:
    """Check a token as RFC 9068 section 4 says and return its claims.

    Raises:
        InvalidToken: Whatever is wrong with it; no other exception for any ASCII text.
    """
    try:
        key = _key_of(token, keys)
        signed = jws.deserialize_compact(token, key.jwk, [key.algorithm])
        claims = _claims.decode(signed.payload)
    except (JoseError, ValueError, RecursionError):
        raise InvalidToken("the token is not one of ours, or was altered") from None
    _check(claims, issuer, audience)
    return claims


def _key_of(token: str, keys: SigningKeys) -> SigningKey:
    """Choose the key by `kid`. The key, not the token, says which algorithm verifies it."""
    header = _header.decode(urlsafe_b64decode(token.partition(".")[0].encode()))
    key = keys.find(header.kid)
    if key is None or header.alg != key.algorithm:
        raise InvalidToken("the token was not signed with a key of ours")
    if header.typ.lower() not in _TYPES:
        raise InvalidToken("the token is not an access token (typ must be at+jwt)")
    return key


def _check(claims: AccessToken, issuer: str, audience: str) -> None:
    audiences = (claims.aud,) if isinstance(claims.aud, str) else claims.aud
    now = time.time()
    if claims.iss != issuer:
        raise InvalidToken("the token is from another issuer")
    if audience not in audiences:
        raise InvalidToken("the token is meant for another audience")
    # No leeway here: we issued it, and a client that asks for a short life means it.
    if claims.exp <= now:
        raise InvalidToken("the token has expired")
    if max(claims.iat, claims.nbf or 0) - LEEWAY_S > now:
        raise InvalidToken("the token is not valid yet")
