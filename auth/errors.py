"""What this package raises.

    AuthError                a request to a protected resource is refused (RFC 6750 section 3)
    ├── MissingCredentials       401, a challenge without an error code
    ├── InvalidToken             401 invalid_token
    └── InsufficientScope        403 insufficient_scope

    RegistrationError        an operator asked for something that can't be; str() says what to do
    ├── InvalidName
    ├── UnknownTenant
    ├── UnknownClient
    ├── UnknownScope
    └── ClientExists

The token endpoint raises neither: it answers with RFC 6749 section 5.2 bodies. A failing database
is never turned into one of these, so that it can't be mistaken for a refusal. Settings that can't
work raise `config.errors.ConfigError`.
"""

from typing import ClassVar

_REALM = "naru"


class AuthError(Exception):
    """A request is refused. `str()` is safe to show to the caller.

    Attributes:
        code: A stable name for programs.
    """

    code: ClassVar[str]

    def challenge(self, resource_metadata: str | None = None) -> str:
        """Return the value of the `WWW-Authenticate` header.

        Args:
            resource_metadata: URL of the RFC 9728 document, named as its section 5.1 says.
        """
        attributes = {"realm": _REALM} | self._attributes()
        if resource_metadata:
            attributes["resource_metadata"] = resource_metadata
        return "Bearer " + ", ".join(f'{name}="{value}"' for name, value in attributes.items())

    def _attributes(self) -> dict[str, str]:
        return {"error": self.code, "error_description": str(self)}


class MissingCredentials(AuthError):
    """The request carries no Bearer token at all."""

    code = "missing_credentials"

    def __init__(self) -> None:
        super().__init__("a token or an API key is required: Authorization: Bearer ...")

    def _attributes(self) -> dict[str, str]:
        # RFC 6750 section 3.1: no error code for a request that tried nothing.
        return {}


class InvalidToken(AuthError):
    """The token or API key is malformed, expired, forged, foreign or disabled."""

    code = "invalid_token"

    def __init__(self, description: str) -> None:
        super().__init__(description)


class InsufficientScope(AuthError):
    """The caller is known and lacks a scope.

    Attributes:
        needed: The scope that would do.
    """

    code = "insufficient_scope"

    def __init__(self, needed: str) -> None:
        super().__init__(f"the scope {needed} is required")
        self.needed = needed

    def _attributes(self) -> dict[str, str]:
        return super()._attributes() | {"scope": self.needed}


class RegistrationError(Exception):
    """An operator's request about tenants, clients or keys can't be done."""


class InvalidName(RegistrationError):
    """An id or a name breaks its grammar."""


class UnknownTenant(RegistrationError):
    """No tenant has this id."""

    def __init__(self, tenant: str) -> None:
        super().__init__(f"there is no tenant {tenant!r}")


class UnknownClient(RegistrationError):
    """No client has this id, or it is disabled."""

    def __init__(self, client_id: str) -> None:
        super().__init__(f"there is no active client {client_id!r}")


class UnknownScope(RegistrationError):
    """A scope does not exist, or the client does not hold it."""


class ClientExists(RegistrationError):
    """The client id is taken, by this tenant or another."""

    def __init__(self, client_id: str) -> None:
        super().__init__(f"a client {client_id!r} exists already: choose another id")
