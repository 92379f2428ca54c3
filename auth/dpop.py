"""DPoP (RFC 9449): proofs that the sender of a token holds the key the token is bound to."""

import datetime as dt
import hashlib
import hmac
import json
import re
import time
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from joserfc.util import urlsafe_b64encode

from auth.jose import NumericDate, PublicKey, Signed, decode, public_key
from auth.once import first_use
from auth.secrets import SecretBox
from config.postgres import Database

ALGORITHMS = ("ES256", "Ed25519", "EdDSA", "PS256", "RS256")
"""What proofs may be signed with; what metadata and challenges advertise."""

WINDOW_S = 60
"""How far a proof's `iat` may be from now, in either direction."""

_MAX_CHARS = 8192
_NONCE_S = 300
_VISIBLE = re.compile(r"[!-~]{1,2048}", re.ASCII)
_UNRESERVED = re.compile(r"[A-Za-z0-9._~-]", re.ASCII)
_PERCENT = re.compile(r"%([0-9A-Fa-f]{2})")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class InvalidProof(Exception):
    """The proof does not count. `str()` says what is wrong with it and is safe to show.

    Attributes:
        code: The error code of RFC 9449.
    """

    code = "invalid_dpop_proof"


class NonceNeeded(InvalidProof):
    """The proof lacks a nonce of ours, or has an old one.

    Attributes:
        nonce: The one to use, for the `DPoP-Nonce` header.
    """

    code = "use_dpop_nonce"

    def __init__(self, nonce: str) -> None:
        super().__init__("the DPoP proof needs the nonce of the DPoP-Nonce header")
        self.nonce = nonce


class Nonces:
    """Nonces (RFC 9449 section 8) that every process with the same secret makes and knows.

    One is good for 5 to 10 minutes, counted from when it was issued.
    """

    def __init__(self, box: SecretBox) -> None:
        self._box = box

    def issue(self) -> str:
        """Return the nonce of this moment."""
        return self._at(self._period())

    def good(self, nonce: str) -> bool:
        """Tell whether it is a nonce of ours and still fresh. Any text is a valid question."""
        asked, now = nonce.encode(errors="replace"), self._period()
        # The clock of the process that issued it may be a little ahead.
        candidates = [self._at(period).encode() for period in (now - 1, now, now + 1)]
        return any(hmac.compare_digest(asked, candidate) for candidate in candidates)

    def _at(self, period: int) -> str:
        return urlsafe_b64encode(self._box.nonce(period)).decode()

    @staticmethod
    def _period() -> int:
        return int(time.time()) // _NONCE_S


class _Header(msgspec.Struct, frozen=True):
    typ: Literal["dpop+jwt"]
    alg: str
    jwk: dict[str, object]


class _Claims(msgspec.Struct, frozen=True):
    jti: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    htm: str
    htu: str
    iat: NumericDate
    ath: str | None = None
    nonce: str | None = None


class Proofs:
    """Checks proofs, each of which counts once, over all processes of the service.

    Args:
        db: Where the used ones are remembered.
        nonces: Which ones count.
        require_nonce: Whether a proof must have one. A wrong one is refused in any case.
    """

    def __init__(self, db: Database, nonces: Nonces, *, require_nonce: bool) -> None:
        self._db = db
        self._nonces = nonces
        self._require_nonce = require_nonce

    async def check(
        self, proof: str, *, method: str, url: str, access_token: str | None = None
    ) -> str:
        """Check a proof as RFC 9449 section 4.3 says and use it up.

        Args:
            proof: The value of the only `DPoP` header.
            method: The request's HTTP method.
            url: The request's public URL, percent-encoded as it was sent; the query is ignored.
            access_token: The token sent with it, which the proof must be made for.

        Returns:
            The thumbprint of the key that signed it (RFC 7638), to compare with `cnf.jkt`.

        Raises:
            InvalidProof: Whatever is wrong with it; no other exception for any text.
            NonceNeeded: It would be good with the nonce that this names.
            asyncpg.PostgresError, asyncpg.InterfaceError, OSError: The store failed.
        """
        signed, key = _verified(proof)
        claims = _claims(signed)
        _check_request(claims, method, url, access_token)
        if not self._fresh(claims.nonce):
            raise NonceNeeded(self._nonces.issue())
        await self._use_up(key.thumbprint, claims)
        return key.thumbprint

    def _fresh(self, nonce: str | None) -> bool:
        return not self._require_nonce if nonce is None else self._nonces.good(nonce)

    async def _use_up(self, jkt: str, claims: _Claims) -> None:
        # Twice the window: the clock of the process that sees it next may be behind ours.
        expires = dt.datetime.fromtimestamp(claims.iat + 2 * WINDOW_S, dt.UTC)
        if not await first_use(self._db, json.dumps(["dpop", jkt, claims.jti]), expires):
            raise InvalidProof("the DPoP proof was used before: make one for every request")


def _verified(proof: str) -> tuple[Signed, PublicKey]:
    if len(proof) > _MAX_CHARS:
        raise InvalidProof(f"the DPoP proof is longer than {_MAX_CHARS} characters")
    try:
        signed = decode(proof)
        header = msgspec.convert(signed.header, _Header)
        if header.alg not in ALGORITHMS:
            raise InvalidProof(f"sign the DPoP proof with one of {', '.join(ALGORITHMS)}")
        key = public_key(header.jwk)
    except ValueError:
        raise InvalidProof(
            "the DPoP header is not a proof: a JWS of type dpop+jwt with its public key as jwk"
        ) from None
    if not key.verifies(signed, ALGORITHMS):
        raise InvalidProof("the DPoP proof was not signed with the key it names")
    return signed, key


def _claims(signed: Signed) -> _Claims:
    try:
        return msgspec.convert(signed.claims, _Claims)
    except ValueError:
        raise InvalidProof(
            "the DPoP proof needs jti (1 to 256 characters), htm, htu, iat"
        ) from None


def _check_request(claims: _Claims, method: str, url: str, access_token: str | None) -> None:
    if claims.htm != method:
        raise InvalidProof("htm of the DPoP proof is not the request's method")
    if not _same_url(claims.htu, url):
        raise InvalidProof("htu of the DPoP proof is not the request's URL")
    if abs(claims.iat - time.time()) > WINDOW_S:
        raise InvalidProof(f"iat of the DPoP proof is more than {WINDOW_S} s from now")
    if access_token is not None and claims.ath != token_hash(access_token):
        raise InvalidProof("ath of the DPoP proof is not the hash of the access token")


def token_hash(access_token: str) -> str:
    """Return the `ath` of a proof for this token: its SHA-256, base64url."""
    return urlsafe_b64encode(hashlib.sha256(access_token.encode()).digest()).decode()


def _same_url(claimed: str, actual: str) -> bool:
    try:
        return _normal(claimed) == _normal(actual)
    except ValueError:
        return False


def _normal(url: str) -> tuple[str, str, int | None, str]:
    """Normalise by syntax and scheme (RFC 3986 sections 6.2.2 and 6.2.3); drop what follows `?`."""
    if not _VISIBLE.fullmatch(url):
        raise ValueError("not a URL")
    parts = urlsplit(url)
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or parts.username is not None:
        raise ValueError("not the URL of a request")
    port = parts.port or _DEFAULT_PORTS[parts.scheme]
    return parts.scheme, parts.hostname, port, _without_dots(_PERCENT.sub(_unescape, parts.path))


def _unescape(escape: re.Match[str]) -> str:
    character = chr(int(escape[1], 16))
    return character if _UNRESERVED.fullmatch(character) else escape[0].upper()


def _without_dots(path: str) -> str:
    """Remove dot segments (RFC 3986 section 5.2.4)."""
    kept: list[str] = []
    for segment in path.split("/")[1:]:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if path.endswith(("/.", "/..")) or not path:
        kept.append("")
    return "/" + "/".join(kept)
