"""The OAuth endpoints, without HTTP around them: a request in, status, body and headers out.

Of Authlib the error classes are used. Its server and grant classes would need an adapter each for
the client, the request and the token generator, and then only choose between one grant and another.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import asyncpg
from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749.errors import (
    InvalidGrantError,
    InvalidRequestError,
    InvalidScopeError,
)

from auth import token
from auth.client_auth import ClientAuthenticator, TooManyFailures
from auth.clients import Client
from auth.dpop import InvalidProof, NonceNeeded, Proofs
from auth.form import Form, OAuthRequest, parse_form
from auth.issued import Issued, find_issued, may_revoke, may_see
from auth.keys import SigningKeys
from auth.revocations import Announcer
from auth.secrets import SecretBox
from auth.signing import MAX_TTL_S
from config.scope import SCOPES

GRANT = "client_credentials"

_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}  # RFC 6749 section 5.1
_ORIGIN_AND_ROOT = re.compile(r"[^:/?#]+://[^/?#]+/")
_BASIC_CHALLENGE = {"WWW-Authenticate": 'Basic realm="naru", charset="UTF-8"'}

Act = Callable[[Client, Form, OAuthRequest], Awaitable["OAuthAnswer"]]


@dataclass(frozen=True, slots=True)
class OAuthAnswer:
    """What to send: `body` as JSON, nothing where it is None, `headers` as they are.

    Attributes:
        client: Who asked, once that is known; not for sending.
        holder: Id of the client whose token or key was revoked; not for sending.
    """

    status: int
    body: dict[str, Any] | None
    headers: dict[str, str]
    client: Client | None = None
    holder: str = ""


@dataclass(frozen=True, slots=True)
class AuthorizationServer:
    """Issues access tokens to clients (RFC 6749 section 4.4), revokes and describes them.

    Its three methods raise asyncpg.PostgresError, asyncpg.InterfaceError or OSError when the store
    failed (a timeout is an OSError). Nothing in a request raises.

    Attributes:
        issuer: `iss` of the tokens, the public URL.
        audiences: The resources (RFC 8707) that tokens can be asked for; the first is the default.
        ttl_s: Life of a token in seconds, 1 to 3600.
    """

    db: asyncpg.Pool
    box: SecretBox
    keys: SigningKeys
    clients: ClientAuthenticator
    proofs: Proofs
    announcer: Announcer
    issuer: str
    audiences: tuple[str, ...]
    ttl_s: int

    def __post_init__(self) -> None:
        """Refuse a life that no token may have."""
        if not 1 <= self.ttl_s <= MAX_TTL_S:
            raise ValueError(f"a token lives 1 to {MAX_TTL_S} seconds, not {self.ttl_s}")

    async def token(self, request: OAuthRequest) -> OAuthAnswer:
        """Answer the token endpoint (RFC 6749 section 4.4)."""
        return await _answer(self.clients, request, _check_grant_type, self._grant)

    async def revoke(self, request: OAuthRequest) -> OAuthAnswer:
        """Answer the revocation endpoint (RFC 7009): a client revokes its own tokens and keys.

        An admin also revokes its tenant's, an operator all of them; no other client of the tenant
        may. Another tenant's and what is no token at all are answered alike and left alone.
        """
        return await _answer(self.clients, request, _check_token, self._revoke)

    async def introspect(self, request: OAuthRequest) -> OAuthAnswer:
        """Answer the introspection endpoint (RFC 7662).

        A client sees its own tokens and keys, an admin its tenant's, an operator all of them.
        """
        return await _answer(self.clients, request, _check_token, self._introspect)

    async def _grant(self, client: Client, form: Form, request: OAuthRequest) -> OAuthAnswer:
        audience = self._audience(form.resources)
        scope = _granted_scope(client, form.get("scope"))
        jkt = await self._proved_key(client, request)
        access_token = token.issue(
            self.keys,
            issuer=self.issuer,
            audience=audience,
            client=client,
            scope=scope,
            ttl_s=self.ttl_s,
            jkt=jkt,
        )
        body = {
            "access_token": access_token,
            "token_type": "DPoP" if jkt else "Bearer",
            "expires_in": self.ttl_s,
            "scope": scope,
        }
        return OAuthAnswer(200, body, dict(_NO_STORE))

    def _audience(self, resources: tuple[str, ...]) -> str | tuple[str, ...]:
        known = {_without_root(audience): audience for audience in reversed(self.audiences)}
        found = [known.get(_without_root(resource)) for resource in resources]
        if None in found:
            raise OAuth2Error("the resource is unknown here", error="invalid_target")
        asked = tuple(dict.fromkeys(filter(None, found))) or self.audiences[:1]
        return asked if len(asked) > 1 else asked[0]

    async def _proved_key(self, client: Client, request: OAuthRequest) -> str | None:
        """Return the thumbprint to bind the token to (RFC 9449 section 5), or None."""
        sent = request.values("dpop")
        if not sent and not client.dpop:
            return None
        if len(sent) != 1:
            raise InvalidProof("send one DPoP header with one proof")
        url = f"{self.issuer}/oauth/token"
        return await self.proofs.check(sent[0], method=request.method, url=url)

    async def _revoke(self, client: Client, form: Form, request: OAuthRequest) -> OAuthAnswer:
        del request
        issued = await self._issued(form)
        if issued is None:
            return OAuthAnswer(200, None, dict(_NO_STORE))
        if await may_revoke(self.db, client, issued):
            await issued.revoke(self.db)
            await self.announcer.announce()
            return OAuthAnswer(200, None, dict(_NO_STORE), holder=issued.client)
        if issued.tenant == client.tenant:
            # RFC 7009 section 2.1, by the code that RFC 6749 section 5.2 has for it.
            raise InvalidGrantError("the token was issued to another client")
        return OAuthAnswer(200, None, dict(_NO_STORE))

    async def _introspect(self, client: Client, form: Form, request: OAuthRequest) -> OAuthAnswer:
        del request
        issued = await self._issued(form)
        if issued is None or not may_see(client, issued):
            return OAuthAnswer(200, {"active": False}, dict(_NO_STORE))
        return OAuthAnswer(200, {"active": True, **issued.claims()}, dict(_NO_STORE))

    async def _issued(self, form: Form) -> Issued | None:
        text = form.get("token") or ""
        return await find_issued(
            self.db, self.box, self.keys, text, issuer=self.issuer, audiences=self.audiences
        )


async def _answer(
    clients: ClientAuthenticator, request: OAuthRequest, check: Callable[[Form], None], act: Act
) -> OAuthAnswer:
    if request.method != "POST":
        return OAuthAnswer(405, _error("invalid_request", "use POST"), {"Allow": "POST"})
    client = None
    try:
        form = parse_form(request)
        check(form)
        client = await clients.authenticate(request, form)
        return replace(await act(client, form, request), client=client)
    except OAuth2Error as error:
        challenge = _BASIC_CHALLENGE if error.status_code == 401 else {}
        body = dict(error.get_body())
        return OAuthAnswer(error.status_code, body, _NO_STORE | challenge, client)
    except TooManyFailures as error:
        wait = {"Retry-After": str(error.wait_s)}
        return OAuthAnswer(429, _error("invalid_client", str(error)), _NO_STORE | wait)
    except InvalidProof as error:
        nonce = {"DPoP-Nonce": error.nonce} if isinstance(error, NonceNeeded) else {}
        return OAuthAnswer(400, _error(error.code, str(error)), _NO_STORE | nonce, client)


def _without_root(resource: str) -> str:
    """Return the resource; an origin is the same with an empty path (RFC 3986 section 6.2.3)."""
    return resource[:-1] if _ORIGIN_AND_ROOT.fullmatch(resource) else resource


def _check_grant_type(form: Form) -> None:
    grant_type = form.get("grant_type")
    if grant_type is None:
        raise InvalidRequestError("grant_type is missing")
    if grant_type != GRANT:
        # Not Authlib's class for it, which repeats the caller's text.
        raise OAuth2Error(f"the only grant_type is {GRANT}", error="unsupported_grant_type")


def _check_token(form: Form) -> None:
    if form.get("token") is None:
        raise InvalidRequestError("token is missing")


def _granted_scope(client: Client, requested: str | None) -> str:
    """Return everything that was asked for, or refuse it all."""
    # RFC 6749 section 3.3 wants single spaces. Nothing malformed is a scope that a client holds.
    names = client.default_scopes if requested is None else set(requested.split(" "))
    if not names or not names <= client.scopes:
        raise InvalidScopeError("the scope is malformed or not held by the client")
    return " ".join(scope for scope in SCOPES if scope in names)


def _error(code: str, description: str) -> dict[str, str]:
    return {"error": code, "error_description": description}
