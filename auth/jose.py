"""JSON Web Signatures of others, read strictly, and the public keys that verify them.

Everything here raises ValueError, and nothing else, for whatever is wrong with any text.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NoReturn

import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey
from joserfc.jws import JWSRegistry
from joserfc.util import base64_to_int, urlsafe_b64decode

NumericDate = Annotated[float, msgspec.Meta(ge=0, lt=2**53)]
"""Seconds since the epoch, fractions allowed (RFC 7519 section 2)."""

_RSA_BITS = range(2048, 4097)
_RSA_ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_EC_ALGORITHMS = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
_OKP_ALGORITHMS = frozenset({"EdDSA", "Ed25519"})
_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_VERIFIERS = {
    # The old name of the same algorithm (RFC 9864).
    alg: JWSRegistry.algorithms["Ed25519" if alg == "EdDSA" else alg]
    for alg in (*_RSA_ALGORITHMS, *_EC_ALGORITHMS.values(), *_OKP_ALGORITHMS)
}


@dataclass(frozen=True, slots=True)
class Signed:
    """A compact JWS (RFC 7515 section 7.1) that nobody has verified yet."""

    header: dict[str, Any]
    claims: dict[str, Any]
    signing_input: bytes = field(repr=False)
    signature: bytes = field(repr=False)


def decode(text: str) -> Signed:
    """Take a compact JWS apart; bound its length before.

    Raises:
        ValueError: It is none, a JSON object names a member twice, or it demands extensions
            (`crit`), of which none is understood.
    """
    header, payload, signature = text.encode("ascii").split(b".")
    protected = _json_object(header)
    if "crit" in protected:
        raise ValueError("the header demands an extension (crit) that is not understood")
    return Signed(
        protected, _json_object(payload), header + b"." + payload, urlsafe_b64decode(signature)
    )


def _json_object(encoded: bytes) -> dict[str, Any]:
    try:
        value = _JSON.decode(urlsafe_b64decode(encoded).decode())
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - the caller's text, not its type
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a JSON object names a member twice")
    return members


def _no_number(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


_JSON = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_number)


class _Jwk(msgspec.Struct, frozen=True, kw_only=True, tag_field="kty"):
    use: Literal["sig"] = "sig"
    key_ops: tuple[str, ...] = ("verify",)
    alg: str | None = None


class _EC(_Jwk, frozen=True, kw_only=True, tag="EC"):
    crv: Literal["P-256", "P-384", "P-521"]
    x: str
    y: str


class _OKP(_Jwk, frozen=True, kw_only=True, tag="OKP"):
    crv: Literal["Ed25519"]
    x: str


class _RSA(_Jwk, frozen=True, kw_only=True, tag="RSA"):
    n: Annotated[str, msgspec.Meta(max_length=683)]
    # A long exponent makes verifying slow.
    e: Annotated[str, msgspec.Meta(max_length=6)]


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key and the algorithms it may be used with: by its kind, and by its own `alg`."""

    jwk: Key
    algorithms: frozenset[str]

    @property
    def thumbprint(self) -> str:
        """Return the base64url SHA-256 thumbprint (RFC 7638)."""
        return self.jwk.thumbprint()

    def verifies(self, signed: Signed, allowed: Collection[str]) -> bool:
        """Tell whether the signature is this key's, made with one of the `allowed` algorithms."""
        alg = signed.header.get("alg")
        if not isinstance(alg, str) or alg not in allowed or alg not in self.algorithms:
            return False
        return _VERIFIERS[alg].verify(signed.signing_input, signed.signature, self.jwk)


def public_key(jwk: Mapping[str, Any]) -> PublicKey:
    """Read a public key for signatures (RFC 7517, RFC 7518 section 6, RFC 8037).

    Raises:
        ValueError: It is private, symmetric, for encryption, of an unknown kind, or an RSA key
            outside 2048 to 4096 bits.
    """
    if _PRIVATE_MEMBERS & jwk.keys():
        raise ValueError("the key is not a public one")
    read = msgspec.convert(jwk, _EC | _OKP | _RSA)
    if "verify" not in read.key_ops:
        raise ValueError("the key is not for signatures")
    try:
        key, algorithms = _import(read)
    except JoseError:
        raise ValueError("the key is malformed") from None
    return PublicKey(key, algorithms if read.alg is None else algorithms & {read.alg})


def _import(read: _EC | _OKP | _RSA) -> tuple[Key, frozenset[str]]:
    match read:
        case _EC(crv=crv, x=x, y=y):
            return (
                ECKey.import_key({"kty": "EC", "crv": crv, "x": x, "y": y}),
                frozenset({_EC_ALGORITHMS[crv]}),
            )
        case _OKP(crv=crv, x=x):
            return OKPKey.import_key({"kty": "OKP", "crv": crv, "x": x}), _OKP_ALGORITHMS
        case _RSA(n=n, e=e):
            if base64_to_int(n).bit_length() not in _RSA_BITS:
                raise ValueError("an RSA key must have 2048 to 4096 bits")
            return RSAKey.import_key({"kty": "RSA", "n": n, "e": e}), _RSA_ALGORITHMS
