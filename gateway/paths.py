"""Ids in paths: a `%2F` is a character of an id, never the end of a segment.

The server decodes the whole path before the framework cuts it at its slashes, so an id with a slash
could be used but not addressed. Until the framework has cut it, such a slash is written as a
control character, which no id can hold.
"""

from typing import Any
from urllib.parse import unquote

from litestar import Request
from litestar.types import ASGIApp, Receive, Scope, Send

_SLASH = "\x01"
_REFUSED = "\0"


def keep_slashes(app: ASGIApp) -> ASGIApp:
    """Return the application behind a rewritten `path`; `unfold_slashes` must run before routes."""

    async def rewriting(scope: Scope, receive: Receive, send: Send) -> None:
        if b"%" in scope["raw_path"]:
            segments = scope["raw_path"].decode("latin-1").split("/")
            scope["path"] = "/".join(_folded(unquote(segment)) for segment in segments)
        await app(scope, receive, send)

    return rewriting


def _folded(segment: str) -> str:
    return segment.replace(_SLASH, _REFUSED).replace("/", _SLASH)


def unfold_slashes(request: Request[Any, Any, Any]) -> None:
    """Give the path's parameters their slashes back."""
    params = request.scope["path_params"]
    if any(isinstance(value, str) and _SLASH in value for value in params.values()):
        request.scope["path_params"] = {
            name: value.replace(_SLASH, "/") if isinstance(value, str) else value
            for name, value in params.items()
        }
