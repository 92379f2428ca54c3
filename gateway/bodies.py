"""What must hold of every request's path, query and body, before anybody decodes it."""

import re
from typing import Any
from urllib.parse import parse_qsl

from litestar import Request
from litestar.types import Scope

from gateway.errors import InvalidRequest, NotFound, UnknownCoding
from gateway.heads import header
from gateway.paths import unfold_slashes

_ESCAPED_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


async def check_text(request: Request[Any, Any, Any]) -> None:
    """Refuse what no store can hold: bytes that are not UTF-8, and NUL characters."""
    unfold_slashes(request)
    if "\0" in request.scope["path"]:
        raise NotFound("no such object: its id can't hold a NUL character")
    _check_query(request.scope["query_string"])
    if request.method not in ("POST", "PUT", "PATCH"):
        return
    check_coding(request.scope)
    if not request.route_handler.opt.get("raw_body"):
        check_body(await request.body())


def check_coding(scope: Scope) -> None:
    """Refuse a body that is compressed, before it is read as what it is not.

    Raises:
        UnknownCoding: It says so; what is taken is in the answer's head.
    """
    coding = header(scope, b"content-encoding")
    if coding and coding.lower() != "identity":
        raise UnknownCoding(
            f"content-encoding: `{coding[:64]}` is not taken, send the body as it is",
            headers={"accept-encoding": "identity"},
        )


def _check_query(query: bytes) -> None:
    if b"%00" not in query:
        return  # the server lets no bare one through
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if "\0" in name or "\0" in value:
            shown = name.replace("\0", "")[:64]
            message = f"{shown}: it holds a NUL character (%00): remove it"
            raise InvalidRequest(message, param=shown)


def check_body(body: bytes) -> None:
    """Refuse a body that no store can hold.

    Raises:
        InvalidRequest: It is not UTF-8, or holds a NUL character.
    """
    try:
        body.isascii() or body.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"the body is not UTF-8 (byte {error.start})") from None
    if b"\\u0000" in body and _ESCAPED_NUL.search(body):
        raise InvalidRequest("the body holds a NUL character (\\u0000): remove it")
