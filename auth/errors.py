"""What this package raises.

    AuthError                a request to a protected resource is refused (RFC 6750 section 3)
    ├── MissingCredentials       401, a challenge without an error code
    ├── InvalidCredentials       400 invalid_request
    ├── InvalidToken             401 invalid_token
    ├── ProofRefused             401 invalid_dpop_proof or use_dpop_nonce (RFC 9449 section 7.1)
    ├── InsufficientScope        403 insufficient_scope
    └── InvalidEndUser           400, no challenge: the credentials are good
        └── InvalidUser          the same of `user` in a body

    RegistrationError        an administrator asked for what can't be; str() says what to do
    ├── InvalidName              400, an id or a name breaks its grammar
    ├── UnknownScope             400
    ├── InvalidOption            400, a client can't be like that
    ├── NotPermitted             403, the caller's role, scopes or limits are too small
    ├── UnknownObject            404, unknown, or another tenant's
    │   ├── UnknownTenant
    │   └── UnknownClient
    └── Conflict                 409, not as things are now
        ├── TenantExists
        ├── ClientExists
        ├── ClientDisabled
        ├── TooManySecrets
        └── LastOperator

The token endpoint raises neither: it answers with RFC 6749 section 5.2 bodies. A failing database
is never turned into one of these, so that it can't be mistaken for a refusal. Settings that can't
work raise `config.errors.ConfigError`.
"""

import re
from collections.abc import Sequence
from typing import ClassVar

END_USER_HEADER = "x-naru-end-user"
"""Names the end user a client acts for: 1 to 256 visible ASCII characters."""

_REALM = "naru"
_UNQUOTABLE = re.compile(r"[^ !#-\[\]-~]")  # RFC 6750 section 3


class AuthError(Exception):
    """A request is refused. `str()` is safe to show to the caller.

    Attributes:
        status: HTTP status of the answer.
        code: A stable name for programs.
        param: The header at fault where it is not Authorization, or None.
        proof_algorithms: Given where the challenge is DPoP's: what proofs may be signed with.
    """

    status: ClassVar[int] = 401
    code: str
    param: ClassVar[str | None] = None
    proof_algorithms: Sequence[str] = ()

    def headers(self, resource_metadata: str) -> dict[str, str]:
        """Return the headers of the answer, one challenge among them.

        Args:
            resource_metadata: URL of the RFC 9728 document, named as its section 5.1 says.
        """
        return {"www-authenticate": self.challenge(resource_metadata)}

    def challenge(self, resource_metadata: str) -> str:
        """Return the value of the `WWW-Authenticate` header."""
        attributes = {"realm": _REALM} | self._attributes()
        attributes["resource_metadata"] = resource_metadata
        if not self.proof_algorithms:
            return "Bearer " + _quoted(attributes)
        attributes["algs"] = " ".join(self.proof_algorithms)
        return "DPoP " + _quoted(attributes)

    def _attributes(self) -> dict[str, str]:
        return {"error": self.code, "error_description": str(self)}


class MissingCredentials(AuthError):
    """The request carries no token at all; the challenge names both schemes."""

    code = "missing_credentials"

    def __init__(self, proof_algorithms: Sequence[str]) -> None:
        super().__init__("a token or an API key is required: Authorization: Bearer ...")
        self.proof_algorithms = proof_algorithms

    def challenge(self, resource_metadata: str) -> str:
        """Return two challenges in one header (RFC 9110 section 11.6.1), Bearer's first."""
        # RFC 6750 section 3.1: no error code for a request that tried nothing.
        bearer = {"realm": _REALM, "resource_metadata": resource_metadata}
        dpop = {"algs": " ".join(self.proof_algorithms)}
        return f"Bearer {_quoted(bearer)}, DPoP {_quoted(dpop)}"


class InvalidCredentials(AuthError):
    """The request carries more credentials than one."""

    status = 400
    code = "invalid_request"


class InvalidToken(AuthError):
    """The token or API key is malformed, expired, forged, foreign, revoked or disabled."""

    code = "invalid_token"


class ProofRefused(AuthError):
    """A DPoP proof is missing or not good.

    Attributes:
        nonce: To be used in the next proof, or None.
    """

    def __init__(
        self,
        description: str,
        proof_algorithms: Sequence[str],
        *,
        code: str = "invalid_dpop_proof",
        nonce: str | None = None,
    ) -> None:
        super().__init__(description)
        self.code = code
        self.proof_algorithms = proof_algorithms
        self.nonce = nonce

    def headers(self, resource_metadata: str) -> dict[str, str]:
        """Return the challenge, and the nonce where one is needed."""
        nonce = {"dpop-nonce": self.nonce} if self.nonce else {}
        return super().headers(resource_metadata) | nonce


class InsufficientScope(AuthError):
    """The caller is known and lacks a scope.

    Attributes:
        needed: The scope that would do.
    """

    status = 403
    code = "insufficient_scope"

    def __init__(self, needed: str) -> None:
        super().__init__(f"the scope {needed} is required")
        self.needed = needed

    def _attributes(self) -> dict[str, str]:
        return super()._attributes() | {"scope": self.needed}


class InvalidEndUser(AuthError):
    """The header that names the end user is malformed, missing or not allowed."""

    status = 400
    code = "invalid_end_user"
    param = END_USER_HEADER

    def headers(self, resource_metadata: str) -> dict[str, str]:
        """Return none: other credentials would not help."""
        del resource_metadata
        return {}


class InvalidUser(InvalidEndUser):
    """The same of `user` in a request's body."""

    param = "user"


def _quoted(attributes: dict[str, str]) -> str:
    return ", ".join(
        f'{name}="{_UNQUOTABLE.sub("?", value)}"' for name, value in attributes.items()
    )


class RegistrationError(Exception):
    """A request about tenants, clients, secrets or keys can't be done.

    Attributes:
        status: HTTP status of the answer.
        code: A stable name for programs, or None.
        param: The option at fault, or None.
    """

    status: ClassVar[int] = 400
    code: ClassVar[str | None] = None
    param: str | None = None


class InvalidName(RegistrationError):
    """An id or a name breaks its grammar."""


class UnknownScope(RegistrationError):
    """A scope does not exist, or the client does not hold it."""

    param = "scopes"


class InvalidOption(RegistrationError):
    """A client can't be like that."""

    def __init__(self, param: str, message: str) -> None:
        super().__init__(message)
        self.param = param


class NotPermitted(RegistrationError):
    """The caller is known, and this is not its to do."""

    status = 403
    code = "not_permitted"


class UnknownObject(RegistrationError):
    """There is none of this id, or it is another tenant's."""

    status = 404
    code = "not_found"

    def __init__(self, what: str, id: str) -> None:  # noqa: A002 - the object's own name for it
        super().__init__(f"there is no {what} {id!r}")


class UnknownTenant(UnknownObject):
    """No tenant has this id."""

    def __init__(self, tenant: str) -> None:
        super().__init__("tenant", tenant)


class UnknownClient(UnknownObject):
    """No client has this id."""

    def __init__(self, client_id: str) -> None:
        super().__init__("client", client_id)


class Conflict(RegistrationError):
    """It can't be done as things are now."""

    status = 409
    code = "conflict"


class TenantExists(Conflict):
    """The tenant id is taken."""

    def __init__(self, tenant: str) -> None:
        super().__init__(f"a tenant {tenant!r} exists already: choose another id")


class ClientExists(Conflict):
    """The client id is taken, by this tenant or another."""

    def __init__(self, client_id: str) -> None:
        super().__init__(f"a client {client_id!r} exists already: choose another id")


class ClientDisabled(Conflict):
    """The client, or its tenant, is disabled."""

    def __init__(self, client_id: str) -> None:
        super().__init__(f"the client {client_id!r} is disabled: enable it, or its tenant, first")


class TooManySecrets(Conflict):
    """Two secrets of the client are valid."""

    def __init__(self, client_id: str) -> None:
        super().__init__(
            f"two secrets of {client_id!r} are valid: retire one of them first, or let both expire "
            "at once (an overlap of 0)"
        )


class LastOperator(Conflict):
    """Nobody could administer the platform any more."""

    def __init__(self) -> None:
        super().__init__("this is the last active operator: make another one first")
