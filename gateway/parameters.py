"""Query parameters of administration: each is known, and named once.

A filter that is misspelt and passed over would give a wrong bill that looks like a right one.
OpenAI's clients may send what we do not know: their routes take it.
"""

from typing import Any
from urllib.parse import parse_qsl

from litestar import Litestar, Request
from litestar.routes import HTTPRoute

from gateway.errors import InvalidRequest
from gateway.guards import needed_scope


def note_parameters(app: Litestar) -> None:
    """Have the application know what each handler of administration takes."""
    app.state.parameters = {
        handler: frozenset(each.field_alias for each in model.expected_query_params)
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for handler, model in route.route_handler_map.values()
        if needed_scope(handler) == "admin"
    }


def check_parameters(request: Request[Any, Any, Any]) -> None:
    """Refuse what administration does not know, or is told twice.

    Raises:
        InvalidRequest: It names the parameter.
    """
    known = request.app.state.parameters.get(request.route_handler)
    if known is None:
        return
    query = request.scope["query_string"].decode("latin-1")
    seen: set[str] = set()
    for name, _ in parse_qsl(query, keep_blank_values=True):
        if name not in known:
            raise InvalidRequest(f"{name[:64]}: no such parameter here", param=name[:64])
        if name in seen:
            raise InvalidRequest(f"{name}: it is there several times: send one", param=name)
        seen.add(name)
