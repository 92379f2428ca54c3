"""Who is asking: from an Authorization header to a `TenantScope`."""

import hashlib
import math
import re
import time
from collections import OrderedDict
from dataclasses import dataclass

import asyncpg

from auth import token
from auth.clients import KEY_PREFIX, find_key
from auth.errors import InsufficientScope, InvalidToken, MissingCredentials
from auth.keys import SigningKeys
from auth.secrets import SecretBox
from config.scope import TenantScope

_CACHE_SIZE = 10_000
_KEY_CACHE_S = 5.0
_B64TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*", re.ASCII)  # RFC 6750 section 2.1


@dataclass(frozen=True, slots=True)
class _Verified:
    """A caller, and until when to believe it: `expires` by the wall clock, `stale` by the other."""

    scope: TenantScope
    expires: float = math.inf
    stale: float = math.inf


class Verifier:
    """Verifies access tokens in process and API keys against the store.

    Verified tokens are remembered until they expire, API keys for at most 5 seconds.

    Args:
        db_pool: Where the API keys are.
        box: Hashes them.
        keys: Verify the tokens.
        issuer: The only `iss` accepted.
        audience: Must be among a token's `aud`.
    """

    def __init__(
        self,
        db_pool: asyncpg.Pool,
        box: SecretBox,
        keys: SigningKeys,
        *,
        issuer: str,
        audience: str,
    ) -> None:
        self._db = db_pool
        self._box = box
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._cache: OrderedDict[bytes, _Verified] = OrderedDict()

    async def verify(self, authorization: str | None) -> TenantScope:
        """Return the caller behind an Authorization header's value.

        Raises:
            MissingCredentials: There is none, or it is of another scheme than Bearer.
            InvalidToken: It is not good, whatever the reason.
            asyncpg.PostgresError, asyncpg.InterfaceError, OSError: The store failed while an API
                key was looked up (a timeout is an OSError).
        """
        credential = _credential(authorization)
        # Not the credential itself, which must not lie about in memory.
        digest = hashlib.sha256(credential.encode()).digest()
        found = self._cached(digest)
        if found:
            return found
        if credential.startswith(KEY_PREFIX):
            verified = await self._verify_key(credential)
        else:
            verified = self._verify_token(credential)
        self._cache[digest] = verified
        if len(self._cache) > _CACHE_SIZE:
            self._cache.popitem(last=False)
        return verified.scope

    def _cached(self, digest: bytes) -> TenantScope | None:
        verified = self._cache.get(digest)
        if verified is None:
            return None
        if verified.expires <= time.time() or verified.stale <= time.monotonic():
            del self._cache[digest]
            return None
        self._cache.move_to_end(digest)
        return verified.scope

    async def _verify_key(self, key: str) -> _Verified:
        stale = time.monotonic() + _KEY_CACHE_S
        holder = await find_key(self._db, self._box, key)
        if holder is None:
            raise InvalidToken("the API key is unknown or disabled")
        return _Verified(holder.scope, stale=stale)

    def _verify_token(self, text: str) -> _Verified:
        claims = token.read(text, self._keys, issuer=self._issuer, audience=self._audience)
        scopes = frozenset(claims.scope.split())
        scope = TenantScope(claims.tenant, claims.client_id, scopes)
        return _Verified(scope, expires=claims.exp)


def require(scope: TenantScope, needed: str) -> None:
    """Refuse a caller who lacks the scope `needed`.

    Raises:
        InsufficientScope: It does.
    """
    if needed not in scope.scopes:
        raise InsufficientScope(needed)


def _credential(authorization: str | None) -> str:
    scheme, _, credential = (authorization or "").partition(" ")
    if scheme.lower() != "bearer":
        raise MissingCredentials
    credential = credential.strip(" ")
    if not _B64TOKEN.fullmatch(credential):
        raise InvalidToken("the token is malformed")
    return credential
