"""Client authentication: exactly one of client_secret_basic and client_secret_post.

Unknown client, disabled client, wrong secret and unreadable credentials give the same bytes after
the same work.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote_plus

from authlib.oauth2.rfc6749.errors import InvalidClientError, InvalidRequestError

from auth.clients import Client, find_authenticated
from auth.form import Form
from auth.secrets import SecretBox
from config.postgres import Database

METHODS = ("client_secret_basic", "client_secret_post")


@dataclass(frozen=True, slots=True)
class _Credentials:
    client_id: str
    secret: str


_NOBODY = _Credentials("", "")


async def authenticate(
    db: Database, box: SecretBox, headers: Mapping[str, str], form: Form
) -> Client:
    """Return the client that made the request.

    Raises:
        InvalidClientError: Authlib's; the client is not who it says, or said nothing.
        InvalidRequestError: Authlib's; it used two methods at once, or two client ids.
    """
    credentials = _credentials(headers.get("authorization"), form)
    client = await find_authenticated(db, box, credentials.client_id, credentials.secret)
    if client is None:
        raise InvalidClientError("client authentication failed", status_code=401)
    return client


def _credentials(authorization: str | None, form: Form) -> _Credentials:
    """Find who the request claims to come from (RFC 6749 section 2.3)."""
    named, secret = form.get("client_id"), form.get("client_secret")
    methods = [authorization, secret, form.get("client_assertion")]
    if sum(method is not None for method in methods) > 1:
        raise InvalidRequestError("more than one client authentication method was used")
    if authorization is None:
        return _Credentials(named or "", secret or "")
    credentials = _basic(authorization)
    if named is not None and named != credentials.client_id:
        raise InvalidRequestError("the body names another client_id than the Authorization header")
    return credentials


def _basic(authorization: str) -> _Credentials:
    """Decode HTTP Basic as RFC 6749 section 2.3.1 wants it: each part form-urlencoded."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return _NOBODY
    try:
        text = base64.b64decode(encoded.strip(" "), validate=True).decode()
        client_id, _, secret = text.partition(":")
        return _Credentials(unquote_plus(client_id), unquote_plus(secret))
    except ValueError:
        return _NOBODY
