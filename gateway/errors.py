"""Errors and their answers: one tree, one table from exception to status and body.

    GatewayError
    ├── InvalidRequest      400  the caller must change the request
    │   └── ModelUnpriced        the caller's budget counts money, and the model has no price
    ├── NotFound            404  unknown, or another's
    ├── NotPermitted        403  the caller is limited to other objects
    ├── Conflict            409  not as things are now
    ├── VersionConflict     412  the object was changed since it was read
    ├── TooLarge            413  longer than a limit the message names
    ├── UnknownCoding       415  the body is compressed
    ├── KeyReused           422  an Idempotency-Key that was sent with another request
    ├── HeadTooLarge        431  request line and headers are too long
    ├── Overloaded          429  an upstream's own limit, or a queue of ours; with Retry-After
    ├── BudgetExhausted     429  nothing is left of a budget in money
    ├── LimitReached        429  a limit of ours; the message says whose
    ├── UpstreamError       502  a target answered nonsense or refused us
    │   ├── UpstreamRefused      the caller's own 4xx, from the upstream
    │   │   └── ContextOverflow  the prompt is too long for this one
    │   ├── UpstreamTimeout 504  a target was silent too long
    │   └── UpstreamInterrupted  a stream broke off after its first content
    ├── Unavailable         503  we, or the store, can't serve now
    └── ClientGone          499  nobody waits for the answer any more

Errors of `auth` and `rag`, of the store's driver and of Litestar are mapped in `_TABLE`.
"""

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
from litestar import MediaType, Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.exceptions.http_exceptions import RequestEntityTooLarge
from litestar.types import ExceptionHandlersMap

import auth
import rag
from config.postgres import UNREACHABLE
from gateway.choices import name_choices
from gateway.observe import metrics
from gateway.observe.labels import coarse
from gateway.openai.errors import ErrorBody, ErrorObject, OAuthErrorBody

_log = logging.getLogger(__name__)
_NO_STORE = {"cache-control": "no-store"}
_AT = re.compile(r" - at (?:`key` in )?`\$\.?(.*)`$")
_MISSING = re.compile(r"Object missing required field `(.*)`", re.DOTALL)
_NAMED = re.compile(r"Object contains unknown field `(.*)`|([a-z_]+): .*", re.DOTALL)
"""What is said of a field by the object around it: in msgspec's words, or by our own checks."""
_UNCLEAR = {
    "Input data was truncated": (
        "the body ends within its JSON, or a string in it within a surrogate pair: "
        "\\ud83d needs its other half"
    ),
    "Number out of range": "a number is out of range: at most 1.8e308",
    "Unsupported type: <class 'list'>": "it is there several times: send one",
    "Unsupported type: <class 'str'>": "it is a text: a file has a `filename`, not `filename*`",
}
"""What decoders say and nobody can follow, and what it means."""


class GatewayError(Exception):
    """Root of the gateway's own errors.

    Attributes:
        status: HTTP status.
        type: OpenAI's error type.
        param: Path of the field at fault, or None.
        code: Stable name of the fault, or None.
        headers: Headers of the answer.
    """

    status = 500
    type = "server_error"

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code
        self.headers = headers or {}


class InvalidRequest(GatewayError):
    """400: the message says what to change."""

    status = 400
    type = "invalid_request_error"


class NotFound(InvalidRequest):
    """404: the same for what does not exist and for what is another's."""

    status = 404


class NotPermitted(InvalidRequest):
    """403: the message says what the caller is limited to."""

    status = 403
    type = "permission_error"


class Conflict(InvalidRequest):
    """409: the message says what stands in the way."""

    status = 409


class VersionConflict(InvalidRequest):
    """412: `If-Match` names another version than the current one (RFC 9110 section 13.1.1)."""

    status = 412


class TooLarge(InvalidRequest):
    """413: the message names the limit."""

    status = 413


class UnknownCoding(InvalidRequest):
    """415: bodies are taken as they are (RFC 9110 section 15.5.16)."""

    status = 415


class KeyReused(InvalidRequest):
    """422: an Idempotency-Key stands for one request (draft-ietf-httpapi-idempotency-key)."""

    status = 422


class HeadTooLarge(InvalidRequest):
    """431: request line and headers together (RFC 6585 section 5)."""

    status = 431


class ModelUnpriced(InvalidRequest):
    """400: a budget in money applies, and nobody said what the model costs."""


class BudgetExhausted(GatewayError):
    """429: the message says whose budget, and when it begins anew."""

    status = 429
    type = "insufficient_quota"


class Overloaded(GatewayError):
    """429, an upstream's own or ours, with its Retry-After."""

    status = 429
    type = "rate_limit_error"


class LimitReached(GatewayError):
    """429: the request would go over a limit of its caller; the headers say when to come back."""

    status = 429
    type = "rate_limit_error"

    def __init__(self, message: str, *, headers: dict[str, str]) -> None:
        super().__init__(message, code="rate_limit_exceeded", headers=headers)


class UpstreamError(GatewayError):
    """502: a target failed before its first content byte."""

    status = 502
    type = "upstream_error"


class UpstreamRefused(UpstreamError):
    """The upstream's 4xx about the caller's own request, passed on with its status."""

    type = "invalid_request_error"

    def __init__(self, status: int, message: str, *, param: str | None, code: str | None) -> None:
        super().__init__(message, param=param, code=code)
        self.status = status


class ContextOverflow(UpstreamRefused):
    """Prompt and answer together are longer than the model can hold; another's may hold them."""


class UpstreamTimeout(UpstreamError):
    """504: a target stayed silent longer than its timeout."""

    status = 504


class UpstreamInterrupted(UpstreamError):
    """A stream ended after its first content and before its end."""


class Unavailable(GatewayError):
    """503: try again after `Retry-After`."""

    status = 503
    type = "service_unavailable"


SHUTDOWN = Unavailable(
    "the server is shutting down: send it again",
    code="server_shutdown",
    headers={"retry-after": "1"},
)
"""What is said of work that the end of the process cuts off."""


class ClientGone(GatewayError):
    """499: the client left before there was an answer."""

    status = 499


@dataclass(frozen=True, slots=True)
class Answer:
    """What an exception becomes on the wire."""

    status: int
    error: ErrorObject
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def body(self) -> ErrorBody:
        """Return the OpenAI error body."""
        return ErrorBody(self.error)

    @property
    def oauth_body(self) -> OAuthErrorBody:
        """Return the RFC 6749 error body."""
        codes = {500: "server_error", 503: "temporarily_unavailable"}
        return OAuthErrorBody(codes.get(self.status, "invalid_request"), self.error.message)


def describe(error: Exception) -> Answer:
    """Return the answer for any exception."""
    answer = _answer(error)
    metrics.ERRORS.add(answer.error.type, _counted(error, answer))
    return answer


def _answer(error: Exception) -> Answer:
    for kind, answer in _TABLE:
        if isinstance(error, kind):
            return answer(error)
    _log.error("unexpected error", exc_info=error)
    return Answer(500, ErrorObject("internal error", "server_error", None, None))


def _counted(error: Exception, answer: Answer) -> str:
    """Return the code under which an error is counted, unless it may be anybody's words."""
    if isinstance(error, UpstreamRefused) or type(error) is GatewayError:
        return "upstream"
    return coarse(answer.error.code or "none")


def code_of(error: Exception) -> str:
    """Return the stable name of an exception, as usage records tell it."""
    for kind, answer in _TABLE:
        if isinstance(error, kind):
            told = answer(error).error
            return told.code or told.type
    return "internal_error"


def retold(told: bytes) -> GatewayError:
    """Return the error that an `Answer` tells, which was kept as JSON."""
    answer = msgspec.json.decode(told, type=Answer)
    fault = answer.error
    error = GatewayError(fault.message, param=fault.param, code=fault.code, headers=answer.headers)
    error.status, error.type = answer.status, fault.type
    return error


def _gateway(error: GatewayError) -> Answer:
    fault = ErrorObject(error.message, error.type, error.param, error.code)
    return Answer(error.status, fault, error.headers)


@contextmanager
def naming(what: str, param: str) -> Iterator[None]:
    """Name the body's field `param` where a `what` is not there; ids in a path have no name."""
    try:
        yield
    except rag.NotFound as error:
        if error.what != what:
            raise
        raise NotFound(str(error), param=param, code="not_found") from None


def _missing(error: rag.NotFound) -> Answer:
    return Answer(404, ErrorObject(str(error), "invalid_request_error", None, "not_found"))


def _not_allowed(error: rag.NotAllowed) -> Answer:
    return Answer(403, ErrorObject(str(error), "permission_error", None, "not_allowed"))


def _expired(error: rag.StoreExpired) -> Answer:
    return Answer(
        400, ErrorObject(str(error), "invalid_request_error", None, "vector_store_expired")
    )


def _filter(error: rag.FilterRefused) -> Answer:
    return Answer(400, ErrorObject(str(error), "invalid_request_error", "filters", None))


def _attached(error: rag.AlreadyAttached) -> Answer:
    fault = ErrorObject(
        str(error), "invalid_request_error", "chunking_strategy", "file_already_attached"
    )
    return Answer(400, fault)


def _source(error: rag.SourceRefused) -> Answer:
    fault = ErrorObject(str(error), "invalid_request_error", error.param, "source_not_allowed")
    return Answer(400, fault)


def _reindex(error: rag.ReindexRefused) -> Answer:
    return Answer(400, ErrorObject(str(error), "invalid_request_error", error.param, error.code))


_AUTH_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
}


def _auth(error: auth.AuthError) -> Answer:
    kind = _AUTH_TYPES[error.status]
    return Answer(error.status, ErrorObject(str(error), kind, error.param, error.code))


def _registration(error: auth.RegistrationError) -> Answer:
    kind = "permission_error" if error.status == 403 else "invalid_request_error"
    return Answer(error.status, ErrorObject(str(error), kind, error.param, error.code))


def _validation(error: ValidationException) -> Answer:
    faults = error.extra if isinstance(error.extra, list) else []
    fault = faults[0] if faults else {}
    path = fault.get("key") or ""
    message = fault.get("message", error.detail)
    if fault.get("source") == "body" and path == "data":
        path = ""
        message = "a JSON object is required as body" if message == "'data'" else message
    return _unfit(path, message)


def _decoding(error: Exception) -> Answer:
    return _undecoded(str(error))


def _undecoded(message: str) -> Answer:
    """Return what a decoder's message tells; its path becomes `param`."""
    found = _AT.search(message)
    # Of an object's unknown keys it says `[...]`.
    path = found.group(1) if found and found.group(1).strip("[.]") else ""
    return _unfit(path, _AT.sub("", message))


def _unfit(path: str, message: str) -> Answer:
    """Return what is said of the value at `path`, the whole body's being empty."""
    if missing := _MISSING.fullmatch(message):
        return _lacking(path, missing[1])
    named = _NAMED.fullmatch(message)
    param = _within(path, named[named.lastindex or 1]) if named else path or None
    told = _UNCLEAR.get(message, message)
    told = f"{path}: {told}" if path else told
    return Answer(400, ErrorObject(told, "invalid_request_error", param, None))


def _lacking(path: str, name: str) -> Answer:
    before = f"{path}: " if path else ""
    message = before + f"Object missing required field `{name}`"
    param = _within(path, name)
    fault = ErrorObject(message, "invalid_request_error", param, "missing_required_parameter")
    return Answer(400, fault)


def _within(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _nested(_: RecursionError) -> Answer:
    return Answer(
        400, ErrorObject("the body is nested too deep", "invalid_request_error", None, None)
    )


def _http(error: HTTPException) -> Answer:
    headers = dict(error.headers or {})
    if "allow" in headers:
        # `gateway.guards` refuses OPTIONS, wherever the framework offers it.
        methods = {*headers["allow"].split(", ")} - {"OPTIONS"}
        headers["allow"] = ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))
    if error.status_code < 500:
        return Answer(error.status_code, _undecoded(error.detail).error, headers)
    return Answer(error.status_code, ErrorObject(error.detail, "server_error", None, None), headers)


def _no_files(_: rag.FilesUnavailable) -> Answer:
    message = "the bucket that holds the bytes of files can't be reached at the moment; try again"
    fault = ErrorObject(message, "service_unavailable", None, "files_unavailable")
    return Answer(503, fault, {"retry-after": "5"})


def _no_embedding(_: rag.EmbedderUnavailable) -> Answer:
    message = "the embedding model can't be reached at the moment; try again"
    fault = ErrorObject(message, "service_unavailable", None, "embedding_unavailable")
    return Answer(503, fault, {"retry-after": "1"})


def _no_reranker(_: rag.RerankerUnavailable) -> Answer:
    message = "the reranker can't be reached at the moment; try again"
    fault = ErrorObject(message, "service_unavailable", None, "reranker_unavailable")
    return Answer(503, fault, {"retry-after": "1"})


def _no_issuer(_: auth.IssuerUnavailable) -> Answer:
    message = "the token's issuer can't be reached at the moment to verify it; try again"
    fault = ErrorObject(message, "service_unavailable", None, "issuer_unavailable")
    return Answer(503, fault, {"retry-after": "1"})


def _unavailable(error: Exception) -> Answer:
    _log.warning("the store can't be reached: %s", type(error).__name__)
    message = "the store can't be reached at the moment; try again"
    fault = ErrorObject(message, "service_unavailable", None, "store_unavailable")
    return Answer(503, fault, {"retry-after": "1"})


_TABLE: tuple[
    tuple[type[Exception] | tuple[type[Exception], ...], Callable[[Any], Answer]], ...
] = (
    (GatewayError, _gateway),
    (auth.AuthError, _auth),
    (auth.RegistrationError, _registration),
    (rag.NotFound, _missing),
    (rag.NotAllowed, _not_allowed),
    (rag.StoreExpired, _expired),
    (rag.AlreadyAttached, _attached),
    (rag.FilterRefused, _filter),
    (rag.SourceRefused, _source),
    (rag.ReindexRefused, _reindex),
    (rag.FilesUnavailable, _no_files),
    (rag.EmbedderUnavailable, _no_embedding),
    (rag.RerankerUnavailable, _no_reranker),
    (auth.IssuerUnavailable, _no_issuer),
    (ValidationException, _validation),
    ((msgspec.ValidationError, msgspec.DecodeError), _decoding),
    (RecursionError, _nested),
    (HTTPException, _http),
    (UNREACHABLE, _unavailable),
)


def respond(
    request: Request[Any, Any, Any], error: Exception
) -> Response[ErrorBody | OAuthErrorBody]:
    """Return what answers a request that failed."""
    if isinstance(error, RequestEntityTooLarge):
        limit = request.route_handler.resolve_request_max_body_size()
        error = TooLarge(f"the body is over the limit of {limit:,} bytes", code="body_too_large")
    if isinstance(error, ValidationException):
        signature = request.route_handler.parsed_fn_signature.parameters
        name_choices(error, {name: each.annotation for name, each in signature.items()})
    answer = describe(error)
    headers = answer.headers
    if isinstance(error, auth.AuthError):
        metadata = f"{request.app.state.services.issuer}/.well-known/oauth-protected-resource"
        headers = headers | error.headers(metadata)
    # By path, because where no handler was found there is no other mark.
    oauth = request.scope["path"].startswith("/oauth/")
    return Response(
        answer.oauth_body if oauth else answer.body,
        status_code=answer.status,
        headers=headers | (_NO_STORE if oauth else {}),
        media_type=MediaType.JSON,
    )


HANDLERS: ExceptionHandlersMap = {Exception: respond, HTTPException: respond}
"""For `Litestar(exception_handlers=…)`."""
