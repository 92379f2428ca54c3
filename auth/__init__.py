"""OAuth 2: clients, keys, tokens, and the only place where a `TenantScope` is made. No HTTP."""

from auth.clients import (
    Client,
    NewClient,
    NewKey,
    create_client,
    create_key,
    create_tenant,
    find_client,
    find_key,
    list_clients,
)
from auth.errors import (
    AuthError,
    ClientExists,
    InsufficientScope,
    InvalidName,
    InvalidToken,
    MissingCredentials,
    RegistrationError,
    UnknownClient,
    UnknownScope,
    UnknownTenant,
)
from auth.keys import SigningKeys
from auth.metadata import metadata, resource_metadata
from auth.secrets import SecretBox
from auth.server import AuthorizationServer, OAuthAnswer
from auth.verify import Verifier, require

__all__ = [
    "AuthError",
    "AuthorizationServer",
    "Client",
    "ClientExists",
    "InsufficientScope",
    "InvalidName",
    "InvalidToken",
    "MissingCredentials",
    "NewClient",
    "NewKey",
    "OAuthAnswer",
    "RegistrationError",
    "SecretBox",
    "SigningKeys",
    "UnknownClient",
    "UnknownScope",
    "UnknownTenant",
    "Verifier",
    "create_client",
    "create_key",
    "create_tenant",
    "find_client",
    "find_key",
    "list_clients",
    "metadata",
    "require",
    "resource_metadata",
]
