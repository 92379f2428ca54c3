"""What an upstream's status other than 200 means."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.errors import (
    ContextOverflow,
    GatewayError,
    NotFound,
    Overloaded,
    UpstreamError,
    UpstreamRefused,
)
from gateway.generation.breaker import pause_s, retry_after

MAX_ERROR_BYTES = 64_000
"""Longest body of a refusal that is read."""

_CALLERS_FAULT = {400, 413, 422}
_NO_QUOTA = "insufficient_quota"
_TOO_LONG = re.compile(
    r"maximum (?:context|model) length|max_model_len|context window|maximum input length"
    r"|prompt is too long|(?:input|prompt) tokens? .*exceeds?",
    re.IGNORECASE,
)


class _Fault(msgspec.Struct):
    message: str = ""
    param: str | None = None
    type: Any = None
    code: str | int | None = None


class _Body(msgspec.Struct):
    error: _Fault


def refusal(name: str, status: int, told: Mapping[str, str], body: bytes) -> GatewayError:
    """Return the error of a server called `name`, in its own words where it is the caller's."""
    fault = _read_fault(body)
    code = fault.code if isinstance(fault.code, str) else None
    if status in _CALLERS_FAULT:
        return _callers_fault(name, status, fault, code)
    if status == 404:
        message = fault.message or f"{name} does not exist"
        return NotFound(message, param="model", code="model_not_found")
    if status == 429:
        return _at_its_limit(name, told, fault)
    code = f"upstream_status_{status}"
    headers = _rest_of(told) if status == 503 else {}
    return UpstreamError(f"{name} answered status {status}", code=code, headers=headers)


def _at_its_limit(name: str, told: Mapping[str, str], fault: _Fault) -> Overloaded:
    """Return what a 429 means; an account that is used up is not there again in a moment."""
    if _NO_QUOTA in (fault.code, fault.type):
        used_up = (
            f"the account that {name} is asked with has nothing left at its provider: tell the "
            "operator; it is no quota of yours, and waiting does not help"
        )
        headers = {"x-should-retry": "false"}
        return Overloaded(used_up, code="upstream_insufficient_quota", headers=headers)
    headers = _rest_of(told)
    return Overloaded(f"{name} is at its own limit", code="upstream_rate_limit", headers=headers)


def _rest_of(told: Mapping[str, str]) -> dict[str, str]:
    """Return for how long an upstream wants to be left alone; in seconds too, for every client."""
    kept = {key: told[key] for key in ("retry-after", "retry-after-ms") if key in told}
    wait_s = pause_s(kept)
    if wait_s is not None and "retry-after" not in kept:
        kept["retry-after"] = retry_after(wait_s)["retry-after"]
    return kept


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
