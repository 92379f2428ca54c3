"""Every request's id: the client's own where it is harmless, else one of ours."""

import re
import uuid

from litestar.types import Scope

_HARMLESS = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_STAMP = "naru_request_id"


def request_id(scope: Scope) -> str:
    """Return the request's id; always the same one."""
    state = scope["state"]
    if _STAMP not in state:
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        state[_STAMP] = given.decode() if _HARMLESS.fullmatch(given) else uuid.uuid4().hex
    return str(state[_STAMP])
