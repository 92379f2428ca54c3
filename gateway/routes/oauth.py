"""The authorization server's routes. RFC 6749 §3.2, RFC 8414, RFC 9728, RFC 7517."""

from dataclasses import dataclass
from typing import Any

from litestar import MediaType, Request, Response, get, post
from litestar.openapi.spec import OpenAPIMediaType, Operation, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIType

import auth
from gateway.guards import PUBLIC, RAW_BODY
from gateway.lifespan import Provided

_CACHED = {"cache-control": "public, max-age=300"}
_FORM_FIELDS = ("grant_type", "scope", "client_id", "client_secret", "resource")


@dataclass
class TokenOperation(Operation):
    """The OpenAPI operation of the token endpoint, whose body is a form read by `auth`."""

    def __post_init__(self) -> None:
        """Describe the form."""
        text = Schema(type=OpenAPIType.STRING)
        form = Schema(
            type=OpenAPIType.OBJECT,
            properties=dict.fromkeys(_FORM_FIELDS, text),
            required=["grant_type"],
        )
        media = OpenAPIMediaType(schema=form)
        self.request_body = RequestBody({"application/x-www-form-urlencoded": media}, required=True)


@post(
    "/oauth/token",
    opt=PUBLIC | RAW_BODY,
    status_code=200,
    tags=["oauth"],
    operation_id="token",
    operation_class=TokenOperation,
)
async def token(request: Request[Any, Any, Any], services: Provided) -> Response[dict[str, Any]]:
    """Issue an access token for client credentials; HTTP Basic or body, one of them."""
    answer = await services.authorization.token(
        method=request.method,
        headers=dict(request.headers.items()),
        query=request.scope["query_string"],
        body=await request.body(),
    )
    return Response(
        answer.body,
        status_code=answer.status,
        headers=dict(answer.headers),
        media_type=MediaType.JSON,
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
    return Response(dict(auth.metadata(services.issuer)), headers=_CACHED)


@get(
    "/.well-known/oauth-protected-resource",
    opt=PUBLIC,
    tags=["oauth"],
    operation_id="resource_metadata",
)
async def resource_metadata(services: Provided) -> Response[dict[str, Any]]:
    """Return which authorization server this resource trusts."""
    return Response(dict(auth.resource_metadata(services.issuer, services.issuer)), headers=_CACHED)


HANDLERS = [token, jwks, server_metadata, openid_configuration, resource_metadata]
