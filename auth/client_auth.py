"""Client authentication: exactly one of the three methods, out of those the client may use.

Unknown client, disabled client, wrong secret, unreadable credentials and a bad assertion give the
same bytes; where there is a secret to compare, after the same work.
"""

import base64
from dataclasses import dataclass, field
from typing import Literal, get_args
from urllib.parse import unquote_plus

import asyncpg
from authlib.oauth2.rfc6749.errors import InvalidClientError, InvalidRequestError

from auth import assertion
from auth.clients import Client, find_authenticated, find_client
from auth.form import Form, OAuthRequest
from auth.secrets import SecretBox
from auth.throttle import Throttle

Method = Literal["client_secret_basic", "client_secret_post", "private_key_jwt"]
METHODS: tuple[Method, ...] = get_args(Method)


class TooManyFailures(Exception):
    """Another failure after too many: the answer is 429.

    Attributes:
        wait_s: Whole seconds until failures count from zero again.
    """

    def __init__(self, wait_s: int) -> None:
        super().__init__("too many failed attempts: wait")
        self.wait_s = wait_s


@dataclass(frozen=True, slots=True)
class _Claimed:
    """Who the request claims to come from, and with what."""

    method: str
    client_id: str
    proof: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ClientAuthenticator:
    """Finds out which client made a request.

    Attributes:
        issuer: The audience of assertions.
    """

    db: asyncpg.Pool
    box: SecretBox
    throttle: Throttle
    issuer: str

    async def authenticate(self, request: OAuthRequest, form: Form) -> Client:
        """Return the client that made the request.

        Raises:
            InvalidClientError: Authlib's; the client is not who it says, or said nothing.
            TooManyFailures: The same, too often within a minute.
            InvalidRequestError: Authlib's; it used two methods at once, or two client ids.
        """
        claimed = _claimed(request.values("authorization"), form)
        client = await self._proved(claimed)
        if client is not None and claimed.method in client.auth_methods:
            return client
        wait_s = await self.throttle.count_failure(claimed.client_id, request.peer)
        if wait_s:
            raise TooManyFailures(wait_s)
        raise InvalidClientError("client authentication failed", status_code=401)

    async def _proved(self, claimed: _Claimed) -> Client | None:
        if claimed.method != "private_key_jwt":
            return await find_authenticated(self.db, self.box, claimed.client_id, claimed.proof)
        client = await find_client(self.db, claimed.client_id)
        if client is None or client.disabled_at:
            return None
        good = await assertion.check(self.db, claimed.proof, client, audience=self.issuer)
        return client if good else None


def _claimed(authorization: list[str], form: Form) -> _Claimed:
    """Find who the request claims to come from (RFC 6749 section 2.3)."""
    named, secret = form.get("client_id"), form.get("client_secret")
    asserted = form.get("client_assertion")
    used = [*authorization, *(value for value in (secret, asserted) if value is not None)]
    if len(used) > 1:
        raise InvalidRequestError("more than one client authentication method was used")
    claimed = _Claimed("client_secret_post", named or "", secret or "")
    if authorization:
        claimed = _basic(authorization[0])
    elif asserted is not None:
        _check_type(form)
        claimed = _Claimed("private_key_jwt", assertion.claimed_client(asserted), asserted)
    if named is not None and named != claimed.client_id:
        raise InvalidRequestError("the body's client_id is not the client that authenticates")
    return claimed


def _check_type(form: Form) -> None:
    if form.get("client_assertion_type") != assertion.TYPE:
        raise InvalidRequestError(f"client_assertion_type must be {assertion.TYPE}")


def _basic(authorization: str) -> _Claimed:
    """Decode HTTP Basic as RFC 6749 section 2.3.1 wants it: each part form-urlencoded."""
    scheme, _, encoded = authorization.partition(" ")
    client_id = secret = ""
    if scheme.lower() == "basic":
        try:
            text = base64.b64decode(encoded.strip(" "), validate=True).decode()
            client_id, secret = map(unquote_plus, text.partition(":")[::2])
        except ValueError:
            client_id = secret = ""
    return _Claimed("client_secret_basic", client_id, secret)
