"""Access tokens as JWTs: RFC 9068, with the tenant and the client's limits as claims of ours."""

import time
import uuid
from typing import Annotated

import msgspec

from auth import jose
from auth.clients import Client, EndUserPolicy
from auth.errors import InvalidToken
from auth.keys import SigningKeys
from auth.signing import CLOCKS_S, SigningKey
from config.scope import EVERYTHING, Allowed, Residency, Role

MAX_CHARS = 24_576
"""Longest token looked at. One with three full allow-lists is shorter."""

NumericDate = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
"""Whole seconds since the epoch (RFC 7519 section 2)."""

_TYPES = ("at+jwt", "application/at+jwt")


class Confirmation(msgspec.Struct, frozen=True):
    """The key a token is bound to (RFC 9449 section 6.1): its RFC 7638 thumbprint."""

    jkt: str


class AllowedClaim(msgspec.Struct, frozen=True, omit_defaults=True):
    """The lists of `config.scope.Allowed`; an absent one allows all."""

    agents: tuple[str, ...] | None = None
    models: tuple[str, ...] | None = None
    vector_stores: tuple[str, ...] | None = None


class AccessToken(msgspec.Struct, frozen=True, omit_defaults=True):
    """The claims of an access token.

    Attributes:
        scope: Space-separated, RFC 8693 section 4.2.
        tenant: Whose data it opens.
        roles: One: what the client was within its tenant (RFC 9068 section 2.2.3.1).
        generation: The client's when the token was issued; raised, it ends the token.
        end_user: The client's policy about naming end users.
        residency: Where the client's prompts may go.
        cnf: What must be proved with each use, or None for a bearer token.
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
    roles: Annotated[tuple[Role, ...], msgspec.Meta(min_length=1)] = ("viewer",)
    generation: Annotated[int, msgspec.Meta(ge=0)] = 0
    allowed: AllowedClaim | None = None
    end_user: EndUserPolicy = "optional"
    residency: Residency = "any"
    cnf: Confirmation | None = None

    @property
    def objects(self) -> Allowed:
        """Return which objects the token opens."""
        if self.allowed is None:
            return EVERYTHING
        lists = (self.allowed.agents, self.allowed.models, self.allowed.vector_stores)
        return Allowed(*(None if names is None else frozenset(names) for names in lists))


class UnknownKey(InvalidToken):
    """The token names a key that is not known here, or not yet.

    Attributes:
        kid: The key's id, of the token's choice.
    """

    def __init__(self, kid: str) -> None:
        super().__init__("the token was not signed with a key of ours")
        self.kid = kid


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What our tokens carry and nothing else: no `jku`, no `jwk`, no `crit` is ever looked at."""

    alg: str
    kid: Annotated[str, msgspec.Meta(max_length=64)]
    typ: str


def issue(
    keys: SigningKeys,
    *,
    issuer: str,
    audience: str | tuple[str, ...],
    client: Client,
    scope: str,
    ttl_s: int,
    jkt: str | None = None,
) -> str:
    """Return a new signed token that dies `ttl_s` seconds from now.

    `jkt` is the thumbprint of the key it is bound to; None makes a bearer token.
    """
    now = int(time.time())
    claims = AccessToken(
        iss=issuer,
        aud=audience,
        sub=client.id,
        client_id=client.id,
        iat=now,
        exp=now + ttl_s,
        jti=str(uuid.uuid4()),
        scope=scope,
        tenant=client.tenant,
        roles=(client.role,),
        generation=client.generation,
        allowed=_allowed_claim(client.allowed),
        end_user=client.end_user,
        residency=client.residency,
        cnf=None if jkt is None else Confirmation(jkt),
    )
    return keys.sign(msgspec.json.encode(claims), typ="at+jwt")


def parse(text: str) -> jose.Signed:
    """Take a token apart without believing any of it.

    Raises:
        InvalidToken: It is too long, no JWS, or names a member twice.
    """
    if len(text) > MAX_CHARS:
        raise InvalidToken(f"the token is longer than {MAX_CHARS} characters")
    try:
        return jose.decode(text)
    except ValueError:
        raise InvalidToken("the token is not a JWT") from None


def read(text: str, keys: SigningKeys, *, issuer: str, audience: str) -> AccessToken:
    """Check a token as RFC 9068 section 4 says and return its claims.

    Raises:
        UnknownKey: An InvalidToken that another process may have signed with its newest key.
        InvalidToken: Whatever else is wrong with it; no other exception for any text.
    """
    return check(parse(text), keys, issuer=issuer, audience=audience)


async def check_patiently(
    signed: jose.Signed, keys: SigningKeys, *, issuer: str, audience: str
) -> AccessToken:
    """Check a token that is taken apart; if its key is unknown here, ask the store for it first.

    Raises:
        InvalidToken: It is not good.
        asyncpg.PostgresError, asyncpg.InterfaceError, OSError: The store failed.
    """
    try:
        return check(signed, keys, issuer=issuer, audience=audience)
    except UnknownKey as unknown:
        if await keys.look_up(unknown.kid) is None:
            raise
    return check(signed, keys, issuer=issuer, audience=audience)


def check(signed: jose.Signed, keys: SigningKeys, *, issuer: str, audience: str) -> AccessToken:
    """Check a token that is taken apart; raises what `read` does."""
    key = key_of(signed, keys)
    if not key.verifies(signed):
        raise InvalidToken("the token was not signed with a key of ours, or was altered")
    try:
        claims = msgspec.convert(signed.claims, AccessToken)
    except ValueError:
        raise InvalidToken("the token lacks a claim, or has one of the wrong kind") from None
    _check_claims(claims, issuer, audience)
    return claims


def key_of(signed: jose.Signed, keys: SigningKeys) -> SigningKey:
    """Choose the key by `kid`. The key, not the token, says which algorithm verifies it."""
    try:
        header = msgspec.convert(signed.header, _Header)
    except ValueError:
        raise InvalidToken("the token's header is not alg, kid and typ") from None
    if header.typ.lower() not in _TYPES:
        raise InvalidToken("the token is not an access token (typ must be at+jwt)")
    key = keys.find(header.kid)
    if key is None:
        raise UnknownKey(header.kid)
    if header.alg != key.algorithm:
        raise InvalidToken("the token was not signed with a key of ours")
    return key


def _check_claims(claims: AccessToken, issuer: str, audience: str) -> None:
    audiences = (claims.aud,) if isinstance(claims.aud, str) else claims.aud
    now = time.time()
    if claims.iss != issuer:
        raise InvalidToken("the token is from another issuer")
    if audience not in audiences:
        raise InvalidToken("the token is meant for another audience")
    # No leeway here: we issued it, and a client that asks for a short life means it.
    if claims.exp <= now:
        raise InvalidToken("the token has expired")
    if max(claims.iat, claims.nbf or 0) - CLOCKS_S > now:
        raise InvalidToken("the token is not valid yet")


def _allowed_claim(allowed: Allowed) -> AllowedClaim | None:
    if allowed == EVERYTHING:
        return None
    lists = (allowed.agents, allowed.models, allowed.vector_stores)
    return AllowedClaim(*(None if names is None else tuple(sorted(names)) for names in lists))
