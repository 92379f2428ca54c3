"""Every request's id: the client's own where it is harmless, else one of ours."""

import re

from litestar.types import Scope

from gateway.ids import new_id

_HARMLESS = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_HEADER = b"x-request-id"
_STAMP = "naru_request_id"


def request_id(scope: Scope) -> str:
    """Return the request's id; always the same one."""
    state = scope["state"]
    known: str | None = state.get(_STAMP)
    if known is None:
        known = state[_STAMP] = _given(scope) or new_id()
    return known


def _given(scope: Scope) -> str:
    # Most say none, which one look at all headers tells.
    if _HEADER not in dict(scope["headers"]):
        return ""
    for name, value in scope["headers"]:
        if name == _HEADER:
            return value.decode() if _HARMLESS.fullmatch(value) else ""
    return ""
