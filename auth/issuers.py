"""Access tokens of foreign OIDC issuers, as callers of ours."""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import aiohttp
import asyncpg
import msgspec

from auth.clients import Client, find_client
from auth.errors import InvalidToken
from auth.jose import NumericDate, Signed, decode
from auth.jwks import IssuerKeys
from config.scope import TenantScope
from config.settings import IssuerSettings

LEEWAY_S = 60
"""How far an issuer's clock may be from ours."""

_MAX_CHARS = 16_384
_TYPES = {"jwt", "at+jwt", "application/at+jwt"}
# A key or its address in the token itself is the sender's choice, not the issuer's.
_OWN_KEYS = {"jku", "jwk", "x5u", "x5c"}
_ID_TOKEN_CLAIMS = {"nonce", "at_hash", "c_hash", "s_hash"}
# Access tokens name the client they were issued to, each issuer in its own way.
_CLIENT_CLAIMS = {"azp", "appid", "cid", "client_id"}


class _Header(msgspec.Struct, frozen=True):
    alg: str
    kid: str
    typ: str = "JWT"


class _Claims(msgspec.Struct, frozen=True):
    iss: str
    aud: str | tuple[str, ...]
    # Becomes the end user, whose name has this form (OIDC Core section 2: 255 ASCII characters).
    sub: Annotated[str, msgspec.Meta(pattern=r"\A[!-~]{1,255}\Z")]
    exp: NumericDate
    iat: NumericDate = 0
    nbf: NumericDate = 0
    # Keycloak writes here what kind of token it is.
    typ: str = "Bearer"


class ForeignIssuers:
    """Verifies access tokens of the issuers that the settings trust.

    Args:
        settings: One part per issuer.
        http: Fetches their keys.
        db: Where our clients are, as which their tokens act.
    """

    def __init__(
        self, settings: Sequence[IssuerSettings], http: aiohttp.ClientSession, db: asyncpg.Pool
    ) -> None:
        self._settings = {each.issuer: each for each in settings}
        self._keys = {each.issuer: IssuerKeys(each.issuer, http) for each in settings}
        self._db = db

    def knows(self, issuer: str) -> bool:
        """Tell whether tokens of this issuer are accepted."""
        return issuer in self._settings

    async def verify(self, token: str, issuer: str) -> tuple[TenantScope, int]:
        """Return the caller a token stands for, and its `exp`.

        The caller is a client of ours, with the scopes that are mapped and the client holds; `sub`
        is its end user.

        Args:
            token: Its `iss` need not have been verified.
            issuer: One that is known.

        Raises:
            InvalidToken: Whatever is wrong with it; no other exception for any text.
            IssuerUnavailable: It can't be told, because the issuer's keys can't be fetched.
            asyncpg.PostgresError, asyncpg.InterfaceError, OSError: The store failed.
        """
        settings = self._settings[issuer]
        header, signed, claims = _read(token)
        _check(claims, settings)
        key = await self._keys[issuer].find(header.kid)
        if key is None or not key.verifies(signed, settings.algorithms):
            raise InvalidToken("the token was not signed with a key of its issuer")
        client = await self._client(settings, signed.claims)
        return _scope(client, settings, signed.claims, claims.sub), int(claims.exp)

    async def _client(self, settings: IssuerSettings, claims: Mapping[str, Any]) -> Client:
        client_id = settings.client
        if settings.client_claim is not None:
            value = _claim(claims, settings.client_claim)
            client_id = settings.clients.get(value) if isinstance(value, str) else None
        if client_id is None:
            raise InvalidToken("nobody here stands for the token's tenant")
        client = await find_client(self._db, client_id)
        if client is None or client.disabled_at:
            raise InvalidToken("the client that stands for the token's issuer is not active")
        if client.dpop:
            raise InvalidToken("the client that stands for the token's issuer uses DPoP only")
        return client


def _read(token: str) -> tuple[_Header, Signed, _Claims]:
    if len(token) > _MAX_CHARS:
        raise InvalidToken(f"the token is longer than {_MAX_CHARS} characters")
    try:
        signed = decode(token)
        header = msgspec.convert(signed.header, _Header)
        claims = msgspec.convert(signed.claims, _Claims)
    except ValueError:
        raise InvalidToken(
            "the token is not a signed access token with alg, kid, sub, exp"
        ) from None
    if _OWN_KEYS & signed.header.keys():
        raise InvalidToken("the token names its own key")
    _check_kind(header, claims, signed.claims.keys())
    return header, signed, claims


def _check_kind(header: _Header, claims: _Claims, names: Iterable[str]) -> None:
    if (
        header.typ.lower() not in _TYPES
        or claims.typ != "Bearer"
        or _ID_TOKEN_CLAIMS.intersection(names)
        or not _CLIENT_CLAIMS.intersection(names)
    ):
        raise InvalidToken("the token is not an access token")
    if "cnf" in names:
        raise InvalidToken("tokens of this issuer that are bound to a key are not accepted")


def _check(claims: _Claims, settings: IssuerSettings) -> None:
    audiences = (claims.aud,) if isinstance(claims.aud, str) else claims.aud
    now = time.time()
    if claims.iss != settings.issuer:
        raise InvalidToken("the token is from another issuer")
    if settings.audience not in audiences:
        raise InvalidToken("the token is meant for another audience")
    if claims.exp + LEEWAY_S <= now:
        raise InvalidToken("the token has expired")
    if max(claims.iat, claims.nbf) - LEEWAY_S > now:
        raise InvalidToken("the token is not valid yet")


def _scope(
    client: Client, settings: IssuerSettings, claims: Mapping[str, Any], end_user: str
) -> TenantScope:
    words = _words(_claim(claims, settings.scope_claim))
    granted = {scope for word in words for scope in settings.scopes.get(word, ())}
    return TenantScope(
        client.tenant,
        client.id,
        client.scopes & granted,
        end_user=end_user,
        role=client.role,
        allowed=client.allowed,
        local_only=client.residency == "local",
    )


def _claim(claims: Mapping[str, Any], path: Iterable[str]) -> object:
    value: object = claims
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _words(value: object) -> set[str]:
    words = value.split(" ") if isinstance(value, str) else value
    return {word for word in words if isinstance(word, str)} if isinstance(words, list) else set()
