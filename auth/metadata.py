"""Discovery documents: only what works is advertised."""

from auth.client_auth import METHODS
from auth.server import GRANT
from config.scope import SCOPES

Document = dict[str, str | list[str]]


def metadata(issuer: str) -> Document:
    """Return the authorization server's metadata (RFC 8414 section 2).

    Also served where OpenID Connect clients look, though this is no OpenID Provider: it has no
    authorization endpoint and issues no ID tokens, and so claims neither.
    """
    return {
        "issuer": issuer,
        "token_endpoint": f"{issuer}/oauth/token",
        "jwks_uri": f"{issuer}/oauth/jwks",
        "scopes_supported": list(SCOPES),
        "response_types_supported": [],
        "grant_types_supported": [GRANT],
        "token_endpoint_auth_methods_supported": list(METHODS),
    }


def resource_metadata(resource: str, issuer: str) -> Document:
    """Return the protected resource's metadata (RFC 9728 section 2)."""
    return {
        "resource": resource,
        "authorization_servers": [issuer],
        "scopes_supported": list(SCOPES),
        "bearer_methods_supported": ["header"],
    }
