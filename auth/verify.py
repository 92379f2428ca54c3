"""Who is asking: from a request's headers to a `TenantScope`."""

import hashlib
import math
import re
import time
from collections import OrderedDict
from dataclasses import KW_ONLY, dataclass, field, replace

import asyncpg
import msgspec

from auth import dpop, token
from auth.clients import KEY_PREFIX, EndUserPolicy, find_key
from auth.errors import (
    END_USER_HEADER,
    AuthError,
    InsufficientScope,
    InvalidCredentials,
    InvalidEndUser,
    InvalidToken,
    InvalidUser,
    MissingCredentials,
    ProofRefused,
)
from auth.issuers import ForeignIssuers
from auth.jose import Signed
from auth.keys import SigningKeys
from auth.revocations import Revocations
from auth.secrets import SecretBox
from config.scope import TenantScope

_CACHE_SIZE = 10_000
_KEY_CACHE_S = 5.0
_FOREIGN_CACHE_S = 300.0
# RFC 6750 section 2.1, RFC 9449 section 7.1
_AUTHORIZATION = re.compile(r"((?i:bearer|dpop)) +([A-Za-z0-9._~+/-]+=*) *", re.ASCII)
_END_USER = re.compile(r"[!-~]{1,256}", re.ASCII)


class Credentials(msgspec.Struct, frozen=True):
    """What a request says about its sender: every value of each header, in their order.

    Attributes:
        authorization: Of `Authorization`.
        dpop: Of `DPoP`.
        end_user: Of `X-Naru-End-User`.
        method: HTTP method, as sent.
        url: The public URL of the request, without its query.
    """

    authorization: tuple[str, ...] = ()
    dpop: tuple[str, ...] = ()
    end_user: tuple[str, ...] = ()
    method: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class _Verified:
    """A caller, and how long to believe it.

    Attributes:
        expires: By the wall clock, `stale` by the other.
        mark: What was known of revocations when it was looked up.
        nobodys: The scope of a request that names no end user.
        kid: The key that signed `claims`, which are those of a token of ours.
        jkt: The thumbprint of the key that its sender must hold; None where it is not bound to one.
    """

    scope: TenantScope
    end_user: EndUserPolicy
    mark: int
    expires: float = math.inf
    stale: float = math.inf
    claims: token.AccessToken | None = None
    kid: str = ""
    nobodys: TenantScope = field(init=False)
    jkt: str | None = field(init=False)

    def __post_init__(self) -> None:
        names = self.end_user != "forbidden"
        object.__setattr__(self, "nobodys", replace(self.scope, names_end_users=names))
        bound = self.claims.cnf if self.claims else None
        object.__setattr__(self, "jkt", bound.jkt if bound else None)


@dataclass(slots=True)
class Verifier:
    """Verifies access tokens in process, API keys against the store, DPoP proofs with each use.

    Verified tokens are remembered until they expire (those of other issuers for 5 minutes at
    most), API keys for 5 seconds, and none for longer than until its revocation is known.

    Attributes:
        db: Where the API keys are.
        box: Hashes them.
        keys: Verify the tokens.
        issuer: The only `iss` of our own tokens.
        audience: Must be among their `aud`.
        revocations: What counts no longer.
        proofs: Checks DPoP proofs.
        foreign: Whose tokens are accepted beside ours.
    """

    db: asyncpg.Pool
    box: SecretBox
    keys: SigningKeys
    _: KW_ONLY
    issuer: str
    audience: str
    revocations: Revocations
    proofs: dpop.Proofs
    foreign: ForeignIssuers
    _cache: OrderedDict[bytes, _Verified] = field(
        default_factory=OrderedDict, init=False, repr=False
    )

    async def verify(self, request: Credentials) -> TenantScope:
        """Return the caller behind a request.

        Raises:
            AuthError: The request is refused, whatever is in it.
            asyncpg.PostgresError, asyncpg.InterfaceError, OSError: The store failed while an API
                key, a proof or a new signing key was looked up (a timeout is an OSError).
        """
        scheme, credential = _credential(request.authorization)
        # Not the credential itself, which must not lie about in memory.
        digest = hashlib.sha256(credential.encode()).digest()
        try:
            verified = self._cached(digest) or await self._learn(digest, credential)
            if scheme == "dpop" or verified.jkt is not None:
                await self._check_sender(scheme, credential, verified.jkt, request)
        except InvalidToken as error:
            error.proof_algorithms = dpop.ALGORITHMS if scheme == "dpop" else ()
            raise
        return _for_end_user(verified, request.end_user)

    async def _learn(self, digest: bytes, credential: str) -> _Verified:
        verified = self._cache[digest] = await self._verify(credential)
        if len(self._cache) > _CACHE_SIZE:
            self._cache.popitem(last=False)
        return verified

    def _cached(self, digest: bytes) -> _Verified | None:
        verified = self._cache.get(digest)
        if verified is None:
            return None
        if not self._holds(verified):
            del self._cache[digest]
            return None
        self._cache.move_to_end(digest)
        return verified

    def _holds(self, verified: _Verified) -> bool:
        if verified.expires <= time.time() or verified.stale <= time.monotonic():
            return False
        if verified.claims is None:
            scope = verified.scope
            return not self.revocations.changed(verified.mark, scope.client, scope.key)
        key = self.keys.find(verified.kid)
        return key is not None and not self.revocations.revoked(verified.claims)

    async def _verify(self, credential: str) -> _Verified:
        if credential.startswith(KEY_PREFIX):
            return await self._verify_key(credential)
        signed = token.parse(credential)
        issuer = signed.claims.get("iss")
        if isinstance(issuer, str) and self.foreign.knows(issuer):
            return await self._verify_foreign(credential, issuer)
        return await self._verify_own(signed)

    async def _verify_key(self, key: str) -> _Verified:
        mark, stale = self.revocations.mark, time.monotonic() + _KEY_CACHE_S
        holder = await find_key(self.db, self.box, key)
        if holder is None:
            raise InvalidToken("the API key is unknown or disabled")
        return _Verified(holder.scope, holder.end_user, mark, stale=stale)

    async def _verify_foreign(self, text: str, issuer: str) -> _Verified:
        mark, stale = self.revocations.mark, time.monotonic() + _FOREIGN_CACHE_S
        scope, expires = await self.foreign.verify(text, issuer)
        # It names its user itself.
        return _Verified(scope, "forbidden", mark, expires=expires, stale=stale)

    async def _verify_own(self, signed: Signed) -> _Verified:
        claims = await token.check_patiently(
            signed, self.keys, issuer=self.issuer, audience=self.audience
        )
        if self.revocations.revoked(claims):
            raise InvalidToken("the token was revoked")
        scope = TenantScope(
            claims.tenant,
            claims.client_id,
            frozenset(claims.scope.split()),
            role=claims.roles[0],
            allowed=claims.objects,
            local_only=claims.residency == "local",
        )
        kid = str(signed.header["kid"])
        return _Verified(scope, claims.end_user, 0, claims.exp, claims=claims, kid=kid)

    async def _check_sender(
        self, scheme: str, text: str, jkt: str | None, request: Credentials
    ) -> None:
        """Demand a proof for a token that is bound to a key, every time (RFC 9449 section 7).

        What is neither sent as DPoP nor bound does not come here.
        """
        if scheme == "bearer":
            raise InvalidToken("the token is bound to a key: send it as DPoP, with a proof")
        if jkt is None:
            raise InvalidToken("the token is not bound to a key: send it as Bearer")
        if await self._proved(text, request) != jkt:
            raise InvalidToken("the DPoP proof is of another key than the token's")

    async def _proved(self, text: str, request: Credentials) -> str:
        """Return the thumbprint of the key that the sender holds."""
        if len(request.dpop) != 1:
            raise ProofRefused("send one DPoP header with one proof", dpop.ALGORITHMS)
        try:
            return await self.proofs.check(
                request.dpop[0], method=request.method, url=request.url, access_token=text
            )
        except dpop.InvalidProof as error:
            nonce = error.nonce if isinstance(error, dpop.NonceNeeded) else None
            raise ProofRefused(str(error), dpop.ALGORITHMS, code=error.code, nonce=nonce) from None


def require(scope: TenantScope, needed: str) -> None:
    """Refuse a caller who lacks the scope `needed`.

    Raises:
        InsufficientScope: It does.
    """
    if needed not in scope.scopes:
        raise InsufficientScope(needed)


def _credential(authorization: tuple[str, ...]) -> tuple[str, str]:
    """Return the scheme, in lower case, and what was sent with it."""
    sent = _AUTHORIZATION.fullmatch(authorization[0]) if len(authorization) == 1 else None
    if sent is None or len(sent[2]) > token.MAX_CHARS:
        raise _malformed(authorization)
    return sent[1].lower(), sent[2]


def _malformed(authorization: tuple[str, ...]) -> AuthError:
    if len(authorization) > 1:
        return InvalidCredentials("more than one Authorization header was sent")
    scheme = authorization[0].partition(" ")[0] if authorization else ""
    if scheme.lower() not in ("bearer", "dpop"):
        return MissingCredentials(dpop.ALGORITHMS)
    return InvalidToken("the token is malformed, or too long")


def _for_end_user(verified: _Verified, named: tuple[str, ...]) -> TenantScope:
    """Add whom the client acts for, as its policy wants it."""
    if not named:
        if verified.end_user == "required":
            raise InvalidEndUser(f"name the end user in the header {END_USER_HEADER}")
        return verified.nobodys
    if verified.end_user == "forbidden":
        raise InvalidEndUser(f"this caller may not name an end user: leave out {END_USER_HEADER}")
    if len(named) > 1 or not named_as_end_user(named[0]):
        raise InvalidEndUser(
            f"{END_USER_HEADER} is sent once, with 1 to 256 visible ASCII characters: "
            "percent-encode others"
        )
    return replace(verified.scope, end_user=named[0], names_end_users=True)


def named_as_end_user(name: str) -> bool:
    """Tell whether requests can name an end user so."""
    return bool(_END_USER.fullmatch(name))


def for_user(scope: TenantScope, user: str | None) -> TenantScope:
    """Return the caller with the end user that its request's body names as `user`.

    That is believed where, and as, the header is; of a caller who may name nobody it means nothing.

    Raises:
        InvalidUser: It is another one than the header names, or none that a header could name.
    """
    if user is None or not scope.names_end_users:
        return scope
    if scope.end_user not in ("", user):
        raise InvalidUser(f"user: {END_USER_HEADER} names another one: send one of them")
    if not named_as_end_user(user):
        raise InvalidUser("user: 1 to 256 visible ASCII characters: percent-encode others")
    return replace(scope, end_user=user)
