"""Every request's id: the client's own where it is harmless, else one of ours."""

import re

from litestar.types import Scope

from gateway.heads import first_values
from gateway.ids import new_id

_HARMLESS = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_STAMP = "naru_request_id"


def request_id(scope: Scope) -> str:
    """Return the request's id; always the same one."""
    state = scope["state"]
    known: str | None = state.get(_STAMP)
    if known is None:
        known = state[_STAMP] = _given(scope) or new_id()
    return known


def _given(scope: Scope) -> str:
    value = first_values(scope).get(b"x-request-id")
    return value.decode() if value and _HARMLESS.fullmatch(value) else ""
