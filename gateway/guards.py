"""Authentication, attached to handlers: without a declared scope a route does not start.

A handler says `opt=needs("inference")` or `opt=PUBLIC`; one guard of the whole application reads it
(decision 10: never by path patterns).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from litestar import Litestar
from litestar.connection import ASGIConnection, Request
from litestar.di import NamedDependency
from litestar.exceptions import MethodNotAllowedException
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.routes import ASGIRoute, BaseRoute, HTTPRoute, WebSocketRoute
from litestar.types import Scope

from auth import Credentials, require
from auth.errors import END_USER_HEADER
from config.scope import SCOPES, TenantScope
from gateway.head_requests import asked_method
from gateway.heads import every_value, first_values
from gateway.observe.phases import Phase

if TYPE_CHECKING:
    from gateway.lifespan import Services

_SCOPE = "needed_scope"
_VERIFIED = "naru_tenant_scope"
_UNDECLARED = "admin"
_END_USER = END_USER_HEADER.lower().encode()

Caller = NamedDependency[TenantScope]
"""A handler's parameter `caller`: the verified caller."""

PUBLIC: dict[str, Any] = {_SCOPE: None}
"""For handlers that anybody may call."""

RAW_BODY: dict[str, Any] = {"raw_body": True}
"""Added to the `opt` of handlers whose body is not JSON, so that its text is theirs to check."""


def needs(scope: str) -> dict[str, Any]:
    """Return the `opt` of a handler that demands `scope`."""
    if scope not in SCOPES:
        raise ValueError(f"unknown scope {scope}")
    return {_SCOPE: scope}


async def authenticate(
    connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler
) -> None:
    """Verify the caller's token or key and its scope; every handler passes here."""
    if connection.scope.get("method") == "OPTIONS":
        # The framework has a handler for it at every path, we have none.
        raise MethodNotAllowedException(headers={"allow": ", ".join(_methods_at(connection))})
    if is_public(handler):
        return
    services = connection.app.state.services
    await admit(connection.scope, services, handler)


async def admit(scope: Scope, services: "Services", handler: BaseRouteHandler) -> TenantScope:
    """Verify who sends a request, and that it has the handler's scope; return who it is.

    Raises:
        AuthError: It is refused.
    """
    with Phase("auth"):
        caller = await services.verifier.verify(_credentials(scope, services.issuer))
    scope[_VERIFIED] = caller  # type: ignore[literal-required]
    require(caller, needed_scope(handler) or _UNDECLARED)
    return caller


def _credentials(scope: Scope, issuer: str) -> Credentials:
    """Collect every value of each header. The URL is the public one, never what `Host` says."""
    sent = first_values(scope)
    authorization = every_value(scope, b"authorization") if b"authorization" in sent else ()
    end_user = every_value(scope, _END_USER) if _END_USER in sent else ()
    if b"dpop" not in sent:
        return Credentials(authorization, (), end_user)
    url = issuer + scope["raw_path"].decode("latin-1")
    proofs = every_value(scope, b"dpop")
    return Credentials(authorization, proofs, end_user, asked_method(scope), url)


def _methods_at(connection: ASGIConnection[Any, Any, Any, Any]) -> list[str]:
    path = connection.scope["path_template"]
    routes = (route for route in connection.app.routes if route.path_format == path)
    return sorted(method for route in routes for method in route.methods)


def needed_scope(handler: BaseRouteHandler) -> str | None:
    """Return the scope that the handler demands; None where anybody may call it."""
    scope: str | None = handler.opt.get(_SCOPE, _UNDECLARED)
    return scope


def caller_of(scope: Scope) -> TenantScope | None:
    """Return the verified caller of a request; None where nobody was verified."""
    return scope.get(_VERIFIED)  # type: ignore[return-value]


def is_public(handler: BaseRouteHandler) -> bool:
    """Tell whether anybody may call the handler."""
    return needed_scope(handler) is None


async def provide_caller(request: Request[Any, Any, Any]) -> TenantScope:
    """Return the verified caller, for handlers that ask for `caller`."""
    verified: TenantScope = request.scope[_VERIFIED]  # type: ignore[literal-required]
    return verified


def check_every_route_is_declared(app: Litestar) -> None:
    """Refuse to start with a route that says neither its scope nor that it is public.

    Raises:
        RuntimeError: Names the routes.
    """
    missing = [
        f"{_methods(handler)} {route.path}"
        for route in app.routes
        for handler in handlers_of(route)
        if _SCOPE not in handler.opt and _methods(handler) != ["OPTIONS"]
    ]
    if missing:
        raise RuntimeError(f"these routes declare no scope: {missing}")


def handlers_of(route: BaseRoute) -> Sequence[BaseRouteHandler]:
    """Return what answers at a route."""
    if isinstance(route, HTTPRoute):
        return list(route.route_handlers)
    return [route.route_handler] if isinstance(route, ASGIRoute | WebSocketRoute) else []


def _methods(handler: BaseRouteHandler) -> list[str]:
    return sorted(handler.http_methods) if isinstance(handler, HTTPRouteHandler) else []
