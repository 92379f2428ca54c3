"""A request to an OAuth endpoint, from bytes to parameters (RFC 6749 sections 3.2 and B)."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from authlib.oauth2.rfc6749.errors import InvalidRequestError

MAX_BODY_BYTES = 65_536

_MEDIA_TYPE = "application/x-www-form-urlencoded"
_MAX_PARAMETERS = 100
_BODY_ONLY = {
    *("grant_type", "scope", "resource", "client_id", "client_secret"),
    *("client_assertion", "client_assertion_type", "token", "token_type_hint"),
}
_REPEATABLE = {"resource"}  # RFC 8707 section 2


@dataclass(frozen=True, slots=True)
class OAuthRequest:
    """A request to an OAuth endpoint, as it came.

    Attributes:
        method: HTTP method, upper case.
        headers: Names in lower case; one that was sent twice is here twice.
        query: The raw query string, without `?`.
        body: The raw body.
        peer: The address it came from, or empty.
    """

    method: str = "POST"
    headers: tuple[tuple[str, str], ...] = ()
    query: bytes = b""
    body: bytes = field(default=b"", repr=False)
    peer: str = ""

    def values(self, name: str) -> list[str]:
        """Return every value of a header."""
        return [value for header, value in self.headers if header == name]


@dataclass(frozen=True, slots=True)
class Form:
    """The parameters of a request; one sent without a value counts as omitted.

    Attributes:
        parameters: Each occurs once.
        resources: Every `resource`, the only one that may be repeated.
    """

    parameters: Mapping[str, str]
    resources: tuple[str, ...]

    def get(self, name: str) -> str | None:
        """Return a parameter's value, or None when it was omitted."""
        return self.parameters.get(name)


def parse_form(request: OAuthRequest) -> Form:
    """Return the form in the request's body.

    Raises:
        InvalidRequestError: Authlib's, when it is not exactly one well-formed UTF-8 form, or the
            query carries what belongs into the body.
    """
    if len(request.body) > MAX_BODY_BYTES:
        raise InvalidRequestError(f"the body is longer than {MAX_BODY_BYTES} bytes")
    media_type = ",".join(request.values("content-type")).partition(";")[0]
    if media_type.strip().lower() != _MEDIA_TYPE:
        raise InvalidRequestError(f"the body must be {_MEDIA_TYPE}")
    if _BODY_ONLY.intersection(name for name, _ in _pairs(request.query)):
        raise InvalidRequestError("parameters belong into the body, never into the URL")
    pairs = _pairs(request.body)
    counts = Counter(name for name, _ in pairs if name not in _REPEATABLE)
    if counts and max(counts.values()) > 1:
        raise InvalidRequestError("a parameter is repeated")
    present = [(name, value) for name, value in pairs if value]
    resources = tuple(value for name, value in present if name == "resource")
    return Form(dict(present), resources)


def _pairs(encoded: bytes) -> list[tuple[str, str]]:
    try:
        pairs = parse_qsl(
            encoded.decode(),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=_MAX_PARAMETERS,
        )
    except ValueError:
        raise InvalidRequestError("the parameters are not UTF-8, or too many") from None
    if any("\0" in name or "\0" in value for name, value in pairs):
        raise InvalidRequestError("a parameter holds a NUL character")
    return pairs
