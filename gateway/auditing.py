"""Which requests are audited: whatever changes agents, knowledge or administration.

The record is there before anything is done, so that no crash leaves a change without one; a second
one says how it ended. What a guard refuses has one alone.
"""

import time
from typing import Any

import msgspec
from litestar import Request
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.types import Message, Scope

from auth.server import OAuthAnswer
from config.scope import TenantScope
from gateway.govern.audit import SYSTEM, AuditEvent, AuditLog, actor_of
from gateway.guards import caller_of, needed_scope

_AUDITED = frozenset({"admin", "agents:write", "knowledge:write"})
_CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_BEGUN = "naru_audit_begun"
_LONGEST_VALUE = 128
_decode = msgspec.json.Decoder().decode


async def begin_audit(request: Request[Any, Any, Any]) -> None:
    """Record that an audited request was let in."""
    handler = request.route_handler
    if not is_audited(handler):
        return
    event = _event(request.scope, handler, "begun", await _given(request, handler))
    request.scope[_BEGUN] = event, await _log_of(request.scope).record(event)  # type: ignore[literal-required]


async def end_audit(message: Message, scope: Scope) -> None:
    """Record how an audited request ended, before its answer goes out."""
    if message["type"] != "http.response.start":
        return
    status = message["status"]
    detail: dict[str, Any] = {"status": status}
    if begun := scope.pop(_BEGUN, None):  # type: ignore[misc]
        event, seq = begun
        outcome = "done" if status < 400 else "failed"
        ended = AuditEvent(
            *(event.tenant, event.action, outcome, event.target, event.actor),
            detail=detail | {"of": seq},
        )
        await _log_of(scope).try_to_record(ended)
        return
    handler = scope.get("route_handler")
    if status in (401, 403) and handler and is_audited(handler):
        passed_over = _REFUSALS.admit()
        if passed_over is not None:
            refused = _event(scope, handler, "refused", detail | passed_over)
            await _log_of(scope).try_to_record(refused)


def is_audited(handler: BaseRouteHandler) -> bool:
    """Tell whether what the handler does is recorded."""
    if not isinstance(handler, HTTPRouteHandler):
        return False
    return needed_scope(handler) in _AUDITED and bool(_CHANGING & set(handler.http_methods))


class Refusals:
    """Lets a few refusals a second be recorded, and counts the rest: anybody can make them."""

    def __init__(self, per_second: int = 10) -> None:
        self._per_second = per_second
        self._second = 0
        self._recorded = 0
        self._passed_over = 0

    def admit(self) -> dict[str, int] | None:
        """Return what to add to the record; None where there is to be none."""
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._recorded = second, 0
        if self._recorded >= self._per_second:
            self._passed_over += 1
            return None
        self._recorded += 1
        passed_over, self._passed_over = self._passed_over, 0
        return {"passed_over": passed_over} if passed_over else {}


_REFUSALS = Refusals()


def _event(
    scope: Scope, handler: BaseRouteHandler, outcome: str, detail: dict[str, Any]
) -> AuditEvent:
    caller: TenantScope | None = caller_of(scope)
    operation = handler.operation_id if isinstance(handler, HTTPRouteHandler) else None
    return AuditEvent(
        tenant=caller.tenant if caller else SYSTEM,
        action=str(operation or handler.handler_name),
        outcome=outcome,
        target={name: str(value) for name, value in scope.get("path_params", {}).items()},
        actor=actor_of(caller.client, caller.key, caller.end_user) if caller else {},
        detail=detail,
    )


async def _given(request: Request[Any, Any, Any], handler: BaseRouteHandler) -> dict[str, Any]:
    """Return the names of the body's fields; in administration the short values as well."""
    if handler.opt.get("raw_body") or "json" not in request.headers.get("content-type", ""):
        return {}
    try:
        fields = _decode(await request.body() or b"{}")
    except (msgspec.DecodeError, RecursionError):
        return {}
    if not isinstance(fields, dict):
        return {}
    if needed_scope(handler) != "admin":
        return {"fields": sorted(fields)} if fields else {}
    return {name: value for name, value in fields.items() if _is_short(value)}


def _is_short(value: object) -> bool:
    return len(msgspec.json.encode(value)) <= _LONGEST_VALUE


def _log_of(scope: Scope) -> AuditLog:
    log: AuditLog = scope["litestar_app"].state.services.audit
    return log


async def audit_token(log: AuditLog, action: str, answer: OAuthAnswer) -> None:
    """Record what the authorization server did, before it says so.

    A standby still issues tokens: the record is written when the store takes it again.

    Raises:
        Unavailable: Too many records wait.
    """
    client, done = answer.client, answer.status == 200
    body = answer.body or {}
    detail = {name: body[name] for name in ("scope", "error") if body.get(name)}
    if not client:
        passed_over = _REFUSALS.admit()
        if passed_over is None:
            return
        detail |= passed_over
    event = AuditEvent(
        tenant=client.tenant if client else SYSTEM,
        action=action,
        outcome="done" if done else "refused",
        target={"client": answer.holder} if answer.holder else {},
        actor={"client": client.id} if client else {},
        detail={"status": answer.status, **detail},
    )
    await log.record_in_time(event)
