"""OAuth 2: clients, keys, tokens, and the only place where a `TenantScope` is made. No HTTP."""

from auth.client_auth import ClientAuthenticator
from auth.clients import Client, find_client, find_key
from auth.errors import (
    AuthError,
    ClientExists,
    InsufficientScope,
    InvalidCredentials,
    InvalidEndUser,
    InvalidName,
    InvalidToken,
    MissingCredentials,
    ProofRefused,
    RegistrationError,
    UnknownClient,
    UnknownScope,
    UnknownTenant,
)
from auth.form import OAuthRequest
from auth.jwks import IssuerUnavailable
from auth.keys import SigningKeys
from auth.metadata import metadata, openid_configuration, resource_metadata
from auth.registration import (
    NewClient,
    NewKey,
    create_client,
    create_key,
    create_tenant,
)
from auth.revocations import Announcer, Revocations
from auth.rotation import (
    KeyInfo,
    list_signing_keys,
    remove_signing_key,
    rotate_signing_key,
)
from auth.secrets import SecretBox
from auth.server import AuthorizationServer, OAuthAnswer
from auth.throttle import Throttle
from auth.verify import Credentials, Verifier, for_user, require
from auth.watch import watching

__all__ = [
    "Announcer",
    "AuthError",
    "AuthorizationServer",
    "Client",
    "ClientAuthenticator",
    "ClientExists",
    "Credentials",
    "InsufficientScope",
    "InvalidCredentials",
    "InvalidEndUser",
    "InvalidName",
    "InvalidToken",
    "IssuerUnavailable",
    "KeyInfo",
    "MissingCredentials",
    "NewClient",
    "NewKey",
    "OAuthAnswer",
    "OAuthRequest",
    "ProofRefused",
    "RegistrationError",
    "Revocations",
    "SecretBox",
    "SigningKeys",
    "Throttle",
    "UnknownClient",
    "UnknownScope",
    "UnknownTenant",
    "Verifier",
    "create_client",
    "create_key",
    "create_tenant",
    "find_client",
    "find_key",
    "for_user",
    "list_signing_keys",
    "metadata",
    "openid_configuration",
    "remove_signing_key",
    "require",
    "resource_metadata",
    "rotate_signing_key",
    "watching",
]
