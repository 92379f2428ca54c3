"""The OpenAPI document, made true: our error object, public routes, streams."""

import asyncio
import importlib.metadata
import importlib.resources
from collections.abc import Iterator
from typing import Any

from litestar import Litestar, Request, Router
from litestar.enums import MediaType
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin, OpenAPIRenderPlugin
from litestar.openapi.spec import (
    Components,
    OpenAPIMediaType,
    OpenAPIResponse,
    Operation,
    Reference,
    Schema,
    SecurityScheme,
)
from litestar.openapi.spec.enums import OpenAPIFormat, OpenAPIType

from gateway.bare import BareRoute, described
from gateway.bodies import check_text
from gateway.guards import PUBLIC, handlers_of, is_public
from gateway.schemas import StructSchemas

_STREAMED = {
    *("create_chat_completion", "create_completion"),
    *("chat_with_agent", "create_agent_completion", "create_pais_completion"),
    *("create_response", "get_response", "resume_stream"),
}
_BYTES = "get_file_content"
_METHODS = ("get", "post", "put", "patch", "delete")


class _Page(OpenAPIRenderPlugin):
    """A page of ours: the framework's load scripts from elsewhere."""

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        del request, openapi_schema
        return (importlib.resources.files("gateway.routes") / "schema.html").read_bytes()


def openapi_config(issuer: str) -> OpenAPIConfig:
    """Return what the framework makes the document from."""
    bearer = SecurityScheme(
        type="http", scheme="bearer", description="An access token, or an API key `sk-naru-…`"
    )
    return OpenAPIConfig(
        title="Naru",
        version=importlib.metadata.version("naru-gateway"),
        description=f"The gateway at {issuer}",
        components=Components(security_schemes={"bearer": bearer}),
        security=[{"bearer": []}],
        render_plugins=[_Page(path="/", media_type=MediaType.HTML), JsonRenderPlugin()],
        openapi_router=Router(
            "/schema",
            route_handlers=[],
            opt=PUBLIC,
            include_in_schema=False,
            before_request=_before_document,
        ),
    )


class Document:
    """Makes an application's document when it is first asked for: half a second, and 7 MB."""

    def __init__(self, app: Litestar) -> None:
        self._app = app
        self._making = asyncio.Lock()
        self._is_made = False

    async def make(self) -> None:
        """Return once it is made, in a thread."""
        async with self._making:
            if not self._is_made:
                await asyncio.to_thread(self._make)
                self._is_made = True

    def _make(self) -> None:
        _describe_bare_routes(self._app)
        _correct(self._app)


async def _before_document(request: Request[Any, Any, Any]) -> None:
    await check_text(request)
    await request.app.state.document.make()


def _describe_bare_routes(app: Litestar) -> None:
    """Add the bare routes, which the framework leaves out, as if they were ordinary ones."""
    handlers = [handler for route in app.routes for handler in handlers_of(route)]
    bare = [described(handler) for handler in handlers if isinstance(handler, BareRoute)]
    for route in Litestar(bare, openapi_config=None, logging_config=None).routes:
        for plugin in app.plugins.receive_route:
            plugin.receive_route(route)


def _correct(app: Litestar) -> None:
    """Mend what the framework can't know."""
    public = {
        handler.operation_id
        for route in app.routes
        for handler in handlers_of(route)
        if isinstance(handler, HTTPRouteHandler) and is_public(handler)
    }
    # The framework drops schemas that the configuration names.
    app.openapi_schema.components.schemas |= {
        **app.plugins.get(StructSchemas).components(),
        "Error": _error(),
        "OAuthError": _oauth_error(),
    }
    for path, operation in _operations(app):
        responses = operation.responses or {}
        responses.pop("400", None)
        kind = "OAuthError" if path.startswith("/oauth/") else "Error"
        responses["default"] = OpenAPIResponse(
            description="An error",
            content={
                "application/json": OpenAPIMediaType(Reference(f"#/components/schemas/{kind}"))
            },
        )
        if operation.operation_id in public:
            operation.security = []
        if operation.operation_id == _BYTES:
            _of_bytes(responses["200"])
        if operation.operation_id in _STREAMED:
            _add_stream(responses["200"])


def _operations(app: Litestar) -> Iterator[tuple[str, Operation]]:
    for path, item in (app.openapi_schema.paths or {}).items():
        yield from ((path, found) for name in _METHODS if (found := getattr(item, name)))


def _of_bytes(response: OpenAPIResponse | Reference) -> None:
    if isinstance(response, OpenAPIResponse):
        content = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY)
        response.content = {"application/octet-stream": OpenAPIMediaType(schema=content)}


def _add_stream(response: OpenAPIResponse | Reference) -> None:
    if isinstance(response, OpenAPIResponse) and response.content is not None:
        frames = Schema(type=OpenAPIType.STRING, description="With `stream: true`: SSE frames")
        response.content["text/event-stream"] = OpenAPIMediaType(schema=frames)


def _oauth_error() -> Schema:
    """Return the error of RFC 6749 section 5.2."""
    text = Schema(type=OpenAPIType.STRING)
    fields: dict[str, Reference | Schema] = {"error": text, "error_description": text}
    return Schema(type=OpenAPIType.OBJECT, properties=fields, required=["error"])


def _error() -> Schema:
    text = Schema(type=OpenAPIType.STRING)
    text_or_null = Schema(type=[OpenAPIType.STRING, OpenAPIType.NULL])
    fields: dict[str, Reference | Schema] = {
        "message": text,
        "type": text,
        "param": text_or_null,
        "code": text_or_null,
    }
    error = Schema(type=OpenAPIType.OBJECT, properties=fields, required=list(fields))
    return Schema(type=OpenAPIType.OBJECT, properties={"error": error}, required=["error"])
