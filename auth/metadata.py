"""Discovery documents: only what works is advertised."""

from collections.abc import Iterable

from auth import assertion, dpop
from auth.client_auth import METHODS
from auth.server import GRANT
from config.scope import SCOPES

Document = dict[str, str | list[str]]

_ENDPOINTS = {"token": "token", "revocation": "revoke", "introspection": "introspect"}


def metadata(issuer: str) -> Document:
    """Return the authorization server's metadata (RFC 8414 section 2, RFC 9449 section 5.1)."""
    endpoints: Document = {}
    for name, path in _ENDPOINTS.items():
        endpoints[f"{name}_endpoint"] = f"{issuer}/oauth/{path}"
        endpoints[f"{name}_endpoint_auth_methods_supported"] = list(METHODS)
        algorithms: list[str] = list(assertion.ALGORITHMS)
        endpoints[f"{name}_endpoint_auth_signing_alg_values_supported"] = algorithms
    return {
        "issuer": issuer,
        **endpoints,
        "jwks_uri": f"{issuer}/oauth/jwks",
        "scopes_supported": list(SCOPES),
        # There is no authorization endpoint to get anything from. RFC 8414 section 2 demands a
        # value and section 3.2 forbids an empty list: `none` is the one that yields no token.
        "response_types_supported": ["none"],
        "grant_types_supported": [GRANT],
        "dpop_signing_alg_values_supported": list(dpop.ALGORITHMS),
    }


def openid_configuration(issuer: str, algorithms: Iterable[str]) -> Document:
    """Return the same for clients that look where OpenID Connect Discovery says, for `jwks_uri`.

    This is no OpenID Provider: it has no authorization endpoint and issues no ID tokens. What
    section 3 demands beyond is told of the access tokens, `algorithms` being those of the keys.
    """
    return metadata(issuer) | {
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": sorted(set(algorithms)),
    }


def resource_metadata(resource: str, issuer: str) -> Document:
    """Return the protected resource's metadata (RFC 9728 section 2)."""
    return {
        "resource": resource,
        "authorization_servers": [issuer],
        "scopes_supported": list(SCOPES),
        "bearer_methods_supported": ["header"],
        "dpop_signing_alg_values_supported": list(dpop.ALGORITHMS),
    }
