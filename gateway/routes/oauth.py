"""The authorization server's routes. RFC 6749 §3.2, RFC 8414, RFC 9728, RFC 7517."""

from dataclasses import dataclass
from typing import Any, ClassVar

from litestar import MediaType, Request, Response, get, post
from litestar.openapi.spec import OpenAPIMediaType, Operation, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIType

import auth
from auth.form import MAX_BODY_BYTES
from gateway.auditing import audit_token
from gateway.guards import PUBLIC, RAW_BODY
from gateway.lifespan import Provided

_CACHED = {"cache-control": "public, max-age=300"}
_AUTHENTICATION = ("client_id", "client_secret", "client_assertion", "client_assertion_type")


@dataclass
class _FormOperation(Operation):
    """The OpenAPI operation of an endpoint whose body is a form read by `auth`."""

    fields: ClassVar[tuple[str, ...]]

    def __post_init__(self) -> None:
        """Describe the form; the first field is required."""
        text = Schema(type=OpenAPIType.STRING)
        form = Schema(
            type=OpenAPIType.OBJECT,
            properties=dict.fromkeys((*self.fields, *_AUTHENTICATION), text),
            required=[self.fields[0]],
        )
        media = OpenAPIMediaType(schema=form)
        self.request_body = RequestBody({"application/x-www-form-urlencoded": media}, required=True)


class _Grant(_FormOperation):
    fields = ("grant_type", "scope", "resource")


class _AboutToken(_FormOperation):
    fields = ("token", "token_type_hint")


_FORM_BODY: dict[str, Any] = {
    "opt": PUBLIC | RAW_BODY,
    "status_code": 200,
    "tags": ["oauth"],
    "request_max_body_size": MAX_BODY_BYTES,
}


@post("/oauth/token", operation_id="token", operation_class=_Grant, **_FORM_BODY)
async def token(request: Request[Any, Any, Any], services: Provided) -> Response[dict[str, Any]]:
    """Issue an access token for client credentials."""
    answer = await services.authorization.token(await _oauth_request(request))
    await audit_token(services.audit, "token.issue", answer)
    return _response(answer)


@post("/oauth/revoke", operation_id="revoke", operation_class=_AboutToken, **_FORM_BODY)
async def revoke(request: Request[Any, Any, Any], services: Provided) -> Response[dict[str, Any]]:
    """Revoke a token or an API key of the client's own; 200 also for what is none.

    An admin also revokes its tenant's, an operator all; for other clients those are 400.
    """
    answer = await services.authorization.revoke(await _oauth_request(request))
    await audit_token(services.audit, "token.revoke", answer)
    return _response(answer)


@post("/oauth/introspect", operation_id="introspect", operation_class=_AboutToken, **_FORM_BODY)
async def introspect(
    request: Request[Any, Any, Any], services: Provided
) -> Response[dict[str, Any]]:
    """Describe a token or an API key that counts, to who may know; else `{"active": false}`."""
    return _response(await services.authorization.introspect(await _oauth_request(request)))


async def _oauth_request(request: Request[Any, Any, Any]) -> auth.OAuthRequest:
    headers = tuple((name.lower(), value) for name, value in request.headers.multi_items())
    return auth.OAuthRequest(
        method=request.method,
        headers=headers,
        query=request.scope["query_string"],
        body=await request.body(),
        peer=request.client.host if request.client else "",
    )


def _response(answer: auth.OAuthAnswer) -> Response[dict[str, Any]]:
    content = {} if answer.body is None else answer.body
    return Response(
        content, status_code=answer.status, headers=answer.headers, media_type=MediaType.JSON
    )


@get("/oauth/jwks", opt=PUBLIC, tags=["oauth"], operation_id="jwks")
async def jwks(services: Provided) -> Response[dict[str, Any]]:
    """Return the public keys that verify tokens."""
    return Response(dict(services.keys.jwks()), headers=_CACHED)


@get(
    "/.well-known/oauth-authorization-server",
    opt=PUBLIC,
    tags=["oauth"],
    operation_id="server_metadata",
)
async def server_metadata(services: Provided) -> Response[dict[str, Any]]:
    """Return what the authorization server can do."""
    return Response(dict(auth.metadata(services.issuer)), headers=_CACHED)


@get(
    "/.well-known/openid-configuration",
    opt=PUBLIC,
    tags=["oauth"],
    operation_id="openid_configuration",
)
async def openid_configuration(services: Provided) -> Response[dict[str, Any]]:
    """Return the same for clients that look for it under OpenID Connect's name."""
    document = auth.openid_configuration(services.issuer, services.keys.algorithms)
    return Response(dict(document), headers=_CACHED)


@get(
    "/.well-known/oauth-protected-resource",
    opt=PUBLIC,
    tags=["oauth"],
    operation_id="resource_metadata",
)
async def resource_metadata(services: Provided) -> Response[dict[str, Any]]:
    """Return which authorization server this resource trusts."""
    return Response(dict(auth.resource_metadata(services.issuer, services.issuer)), headers=_CACHED)


HANDLERS = [
    token,
    revoke,
    introspect,
    jwks,
    server_metadata,
    openid_configuration,
    resource_metadata,
]
