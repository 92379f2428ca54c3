"""Bare ASGI routes: what the framework does for a handler, done by hand and once.

Only for what is called thousands of times a second. Everything else holds as on every route: the
guard, the error objects, what bodies may be, and that the OpenAPI document has it. The framework
knows them too: it answers what asks for them in an odd way.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
from litestar import Litestar, Request, Response, post
from litestar.connection import ASGIConnection
from litestar.exceptions import MethodNotAllowedException
from litestar.handlers import ASGIRouteHandler, HTTPRouteHandler
from litestar.params import JSONBody
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

from config.scope import TenantScope
from gateway.bodies import check_body, check_coding
from gateway.errors import ClientGone, InvalidRequest, TooLarge, respond
from gateway.govern.charge import CLIENT_GONE, current_exchange
from gateway.guards import admit, caller_of, handlers_of, needs
from gateway.heads import header, send_whole, server_send
from gateway.lifespan import Services
from gateway.stamps import stamps

_METHOD = "POST"
_HOST = re.compile(r"[A-Za-z0-9.-]+(:[0-9]+)?")


class Call(msgspec.Struct, frozen=True, eq=False):
    """A request whose body has been read and is text."""

    scope: HTTPScope
    receive: Receive
    send: Send
    caller: TenantScope
    services: Services
    body: bytes

    @property
    def request(self) -> Request[Any, Any, Any]:
        """Return it as other handlers get it; its body can be read once more."""
        return Request(self.scope, self._receive_again(), self.send)

    async def answer(self, response: Response[Any]) -> None:
        """Answer as other handlers do."""
        app = response.to_asgi_response(None, self.request)
        await app(self.scope, self.receive, self.send)

    async def answer_json(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Answer 200 with a body that is JSON already."""
        length = str(len(body))
        head = {"content-type": "application/json", "content-length": length, **headers}
        if send_whole(self.scope)(200, head | stamps(self.scope, 200), body):
            return
        encoded = [(name.encode(), value.encode("latin-1")) for name, value in head.items()]
        await self.send({"type": "http.response.start", "status": 200, "headers": encoded})
        await server_send(self.scope, self.send)(
            {"type": "http.response.body", "body": body, "more_body": False}
        )

    def _receive_again(self) -> Receive:
        told = False

        async def receive() -> Any:  # noqa: ANN401 - the framework's messages
            nonlocal told
            if told:
                return await self.receive()
            told = True
            return {"type": "http.request", "body": self.body, "more_body": False}

        return receive


Handle = Callable[[Call], Awaitable[None]]


class BareRoute(ASGIRouteHandler):
    """A bare route for POST.

    Attributes:
        takes: Type of its body, `gives` of its answer, both for the document alone.
    """

    __slots__ = ("description", "gives", "handle", "operation_id", "tags", "takes")

    handle: Handle
    takes: type
    gives: type
    tags: Sequence[str]
    operation_id: str
    description: str

    async def authorize_connection(self, connection: ASGIConnection[Any, Any, Any, Any]) -> None:
        """Let every guard look at the request, as on every route."""
        if connection.scope.get("method") != _METHOD:
            raise MethodNotAllowedException(headers={"allow": _METHOD})
        for guard in self.resolve_guards():
            # Others get a copy of the handler, which costs more than all the rest of this.
            await guard(connection, self)  # type: ignore[misc]

    def resolve_request_max_body_size(self) -> None:
        """Return None: a `Call` has been read within the limit, and its request is read again."""

    async def answer(self, path: str, scope: HTTPScope, receive: Receive, send: Send) -> None:
        """Answer a request without the framework."""
        scope.update(route_handler=self, path_template=path, path_params={})  # type: ignore[call-arg]
        services: Services = scope["litestar_app"].state.services
        try:
            caller = await admit(scope, services, self)
            await self.handle(await _read(scope, receive, send, services, caller))
        except Exception as error:
            if current_exchange().status:
                raise  # an answer has begun
            request = Request[Any, Any, Any](scope, receive, send)
            await respond(request, error).to_asgi_response(None, request)(scope, receive, send)


def bare_post(
    path: str, needed: str, *, takes: type, gives: type, tags: Sequence[str], operation_id: str
) -> Callable[[Handle], BareRoute]:
    """Make a function a bare route that demands the scope `needed`."""

    def decorate(handle: Handle) -> BareRoute:
        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            services, caller = scope["litestar_app"].state.services, caller_of(scope)
            assert caller is not None, "the guard let it in"  # noqa: S101
            await handle(await _read(scope, receive, send, services, caller))  # type: ignore[arg-type]

        route = BareRoute(path, opt=needs(needed), name=operation_id, copy_scope=False)
        route.handle = handle
        route.takes, route.gives = takes, gives
        route.tags, route.operation_id = tags, operation_id
        route.description = handle.__doc__ or ""
        route(serve)
        return route

    return decorate


def bare_first(app: Litestar, framework: ASGIApp) -> ASGIApp:
    """Return the application that answers bare routes itself, and all else as the framework does.

    The framework's way to a handler takes as long as all that a caller's limits do.
    """
    routes = {
        path: handler
        for route in app.routes
        for handler in handlers_of(route)
        if isinstance(handler, BareRoute)
        for path in handler.paths
    }

    def choosing(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        path = scope["path"]
        route = routes.get(path)
        if route is None or scope["method"] != _METHOD:  # type: ignore[typeddict-item]
            return framework(scope, receive, send)
        if not _HOST.fullmatch(header(scope, b"host") or ""):
            return framework(scope, receive, send)
        return route.answer(path, scope, receive, send)  # type: ignore[arg-type]

    return choosing


def described(route: BareRoute) -> HTTPRouteHandler:
    """Return an ordinary route as the document describes a bare one; it is never called."""

    async def handle(data: Any) -> Any:  # noqa: ANN401 - its types are put in below
        return data

    body: Any = JSONBody
    answer: Any = Response
    handle.__annotations__ = {"data": body[route.takes], "return": answer[route.gives]}
    handle.__doc__, handle.__name__ = route.description, route.operation_id
    made = post(
        sorted(route.paths),
        opt=route.opt,
        status_code=200,
        tags=route.tags,
        operation_id=route.operation_id,
    )
    return made(handle)


async def _read(
    scope: HTTPScope, receive: Receive, send: Send, services: Services, caller: TenantScope
) -> Call:
    """Read the request's body.

    Raises:
        TooLarge: It is longer than the limit; the rest was not read.
        ClientGone: It never came to its end.
    """
    limit = services.limits.max_body_bytes
    if int(header(scope, b"content-length") or 0) > limit:
        raise _too_large(limit)
    check_coding(scope)
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientGone("the client left", code=CLIENT_GONE)
        parts.append(part := message["body"])
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        if not message["more_body"]:
            break
    if not size:
        raise InvalidRequest("a JSON object is required as body")
    check_body(body := b"".join(parts))
    return Call(scope, receive, send, caller, services, body)


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"the body is over the limit of {limit:,} bytes", code="body_too_large")
