"""The token endpoint, without HTTP around it: bytes in, status, body and headers out.

Of Authlib the error classes are used. Its server and grant classes would need an adapter each for
the client, the request and the token generator, and then only choose between one grant and another.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import asyncpg
from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749.errors import InvalidRequestError, InvalidScopeError

from auth import token
from auth.client_auth import authenticate
from auth.clients import Client
from auth.form import Form, parse_form
from auth.keys import SigningKeys
from auth.secrets import SecretBox
from auth.signing import MAX_TTL_S
from config.scope import SCOPES

GRANT = "client_credentials"

_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}  # RFC 6749 section 5.1
_BASIC_CHALLENGE = {"WWW-Authenticate": 'Basic realm="naru", charset="UTF-8"'}


@dataclass(frozen=True, slots=True)
class OAuthAnswer:
    """What to send: `body` as JSON, `headers` as they are."""

    status: int
    body: dict[str, str | int]
    headers: dict[str, str]


class AuthorizationServer:
    """Issues access tokens to clients (RFC 6749 section 4.4).

    Args:
        db_pool: Where the clients are.
        box: Hashes their secrets.
        keys: Signs the tokens.
        issuer: `iss` of the tokens, the public URL.
        audience: `aud` of the tokens, and the only `resource` (RFC 8707) there is.
        ttl_s: Life of a token in seconds, 1 to 3600.
    """

    def __init__(
        self,
        db_pool: asyncpg.Pool,
        box: SecretBox,
        keys: SigningKeys,
        *,
        issuer: str,
        audience: str,
        ttl_s: int,
    ) -> None:
        if not 1 <= ttl_s <= MAX_TTL_S:
            raise ValueError(f"a token lives 1 to {MAX_TTL_S} seconds, not {ttl_s}")
        self._db = db_pool
        self._box = box
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._ttl_s = ttl_s

    async def token(
        self, *, method: str, headers: Mapping[str, str], query: bytes, body: bytes
    ) -> OAuthAnswer:
        """Answer one request to the token endpoint.

        Args:
            method: HTTP method, upper case.
            headers: By lower-case name.
            query: The raw query string, without `?`.
            body: The raw body.

        Raises:
            asyncpg.PostgresError, asyncpg.InterfaceError, OSError: The store failed (a timeout is
                an OSError). Nothing in the request raises.
        """
        if method != "POST":
            return OAuthAnswer(405, _error("invalid_request", "use POST"), {"Allow": "POST"})
        try:
            form = parse_form(headers, query, body)
            _check_grant_type(form)
            client = await authenticate(self._db, self._box, headers, form)
            return self._grant(client, form)
        except OAuth2Error as error:
            challenge = _BASIC_CHALLENGE if error.status_code == 401 else {}
            return OAuthAnswer(error.status_code, dict(error.get_body()), _NO_STORE | challenge)

    def _grant(self, client: Client, form: Form) -> OAuthAnswer:
        if any(resource != self._audience for resource in form.resources):
            raise OAuth2Error("the resource is unknown here", error="invalid_target")
        scope = _granted_scope(client, form.get("scope"))
        access_token = token.issue(
            self._keys,
            issuer=self._issuer,
            audience=self._audience,
            client=client,
            scope=scope,
            ttl_s=self._ttl_s,
        )
        body: dict[str, str | int] = {
            "access_token": access_token,
            "token_type": "Bearer",
            "expires_in": self._ttl_s,
            "scope": scope,
        }
        return OAuthAnswer(200, body, dict(_NO_STORE))


def _check_grant_type(form: Form) -> None:
    grant_type = form.get("grant_type")
    if grant_type is None:
        raise InvalidRequestError("grant_type is missing")
    if grant_type != GRANT:
        # Not Authlib's class for it, which repeats the caller's text.
        raise OAuth2Error(f"the only grant_type is {GRANT}", error="unsupported_grant_type")


def _granted_scope(client: Client, requested: str | None) -> str:
    """Return everything that was asked for, or refuse it all."""
    # RFC 6749 section 3.3 wants single spaces. Nothing malformed is a scope that a client holds.
    names = client.default_scopes if requested is None else set(requested.split(" "))
    if not names or not names <= client.scopes:
        raise InvalidScopeError("the scope is malformed or not held by the client")
    return " ".join(scope for scope in SCOPES if scope in names)


def _error(code: str, description: str) -> dict[str, str | int]:
    return {"error": code, "error_description": description}
