"""The error object of the OpenAI API; all four keys, always."""

import msgspec


class ErrorObject(msgspec.Struct, frozen=True):
    """What went wrong. `code` is a string or null."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(msgspec.Struct, frozen=True):
    """The body of every answer that is an error outside the OAuth routes."""

    error: ErrorObject


class OAuthErrorBody(msgspec.Struct, frozen=True):
    """The same on the OAuth routes (RFC 6749 section 5.2)."""

    error: str
    error_description: str
