"""One signing key, and how long what it signs can count."""

from dataclasses import dataclass, field
from typing import Literal, Self

import msgspec
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey, import_key
from joserfc.jws import JWSRegistry
from joserfc.util import urlsafe_b64encode

from auth.jose import Signed

Algorithm = Literal["ES256", "EdDSA", "RS256"]

MAX_TTL_S = 3600
"""Longest life of an access token."""

CLOCKS_S = 60
"""How far the clocks of two machines may be apart."""

# By the name in our headers; joserfc warns of the older one (RFC 9864), which more verifiers know.
_ALGORITHMS = {
    "ES256": JWSRegistry.algorithms["ES256"],
    "EdDSA": JWSRegistry.algorithms["Ed25519"],
    "RS256": JWSRegistry.algorithms["RS256"],
}


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One key and the only algorithm it is ever used with (RFC 8725 section 3.1)."""

    kid: str
    algorithm: str
    jwk: Key = field(repr=False)

    @classmethod
    def generate(cls, algorithm: Algorithm) -> Self:
        """Make a key; an RSA one takes up to a second to find."""
        match algorithm:
            case "ES256":
                jwk: Key = ECKey.generate_key("P-256")
            case "EdDSA":
                jwk = OKPKey.generate_key("Ed25519")
            case "RS256":
                jwk = RSAKey.generate_key(2048)
        return cls.load(jwk.thumbprint(), algorithm, msgspec.json.encode(jwk.as_dict(private=True)))

    @classmethod
    def load(cls, kid: str, algorithm: str, private: bytes) -> Self:
        """Read a private JWK, which is bound to its id and algorithm here."""
        values = msgspec.json.decode(private, type=dict[str, str | list[str]])
        values |= {"kid": kid, "alg": algorithm, "use": "sig"}
        return cls(kid, algorithm, import_key(values))

    def sign(self, payload: bytes, typ: str) -> str:
        """Return the compact JWS of `payload` (RFC 7515 section 7.1)."""
        header = msgspec.json.encode({"alg": self.algorithm, "kid": self.kid, "typ": typ})
        content = urlsafe_b64encode(header) + b"." + urlsafe_b64encode(payload)
        signature = _ALGORITHMS[self.algorithm].sign(content, self.jwk)
        return (content + b"." + urlsafe_b64encode(signature)).decode()

    def verifies(self, signed: Signed) -> bool:
        """Tell whether the signature is this key's. Its header has no say in how."""
        algorithm = _ALGORITHMS[self.algorithm]
        return algorithm.verify(signed.signing_input, signed.signature, self.jwk)

    def public(self) -> dict[str, object]:
        """Return the public half as a JWK (RFC 7517)."""
        return dict(self.jwk.as_dict(private=False))
