"""What an upstream's status other than 200 means."""

import re
from collections.abc import Mapping

import msgspec

from gateway.errors import (
    ContextOverflow,
    GatewayError,
    NotFound,
    Overloaded,
    UpstreamError,
    UpstreamRefused,
)

MAX_ERROR_BYTES = 64_000
"""Longest body of a refusal that is read."""

_CALLERS_FAULT = {400, 413, 422}
_KEPT = ("retry-after", "retry-after-ms")
_TOO_LONG = re.compile(
    r"maximum (?:context|model) length|max_model_len|context window|maximum input length"
    r"|prompt is too long|(?:input|prompt) tokens? .*exceeds?",
    re.IGNORECASE,
)


class _Fault(msgspec.Struct):
    message: str = ""
    param: str | None = None
    code: str | int | None = None


class _Body(msgspec.Struct):
    error: _Fault


def refusal(name: str, status: int, told: Mapping[str, str], body: bytes) -> GatewayError:
    """Return the error of a server called `name`, in its own words where it is the caller's."""
    fault = _read_fault(body)
    code = fault.code if isinstance(fault.code, str) else None
    if status in _CALLERS_FAULT:
        return _callers_fault(name, status, fault, code)
    kept = {key: told[key] for key in _KEPT if key in told and status in (429, 503)}
    if status == 404:
        message = fault.message or f"{name} does not exist"
        return NotFound(message, param="model", code="model_not_found")
    if status == 429:
        return Overloaded(f"{name} is at its own limit", code="upstream_rate_limit", headers=kept)
    code = f"upstream_status_{status}"
    return UpstreamError(
        f"{name} answered status {status}", code=code, headers=kept if status >= 500 else {}
    )


def _callers_fault(name: str, status: int, fault: _Fault, code: str | None) -> UpstreamRefused:
    message = fault.message or f"{name} refused the request"
    if code == "context_length_exceeded" or _TOO_LONG.search(message):
        code = "context_length_exceeded"
        return ContextOverflow(status, message, param=fault.param or "messages", code=code)
    return UpstreamRefused(status, message, param=fault.param, code=code)


def _read_fault(body: bytes) -> _Fault:
    """Return the upstream's own words where it speaks OpenAI's error object."""
    try:
        return msgspec.json.decode(body, type=_Body).error
    except ValueError:
        return _Fault()
