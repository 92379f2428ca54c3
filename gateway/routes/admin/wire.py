"""Tenants, clients, secrets and keys on the wire. No hash, and no secret but once."""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from auth.admin.api_keys import ApiKey
from auth.admin.client_secrets import OVERLAP_S, Secret
from auth.admin.tenants import Tenant
from auth.assertion import Algorithm
from auth.client_auth import Method
from auth.clients import Client, EndUserPolicy
from auth.rotation import KeyInfo
from config.scope import SCOPES, Residency, Role
from config.settings import ScopeName
from gateway.routes.pages import timestamp


class _Body(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    def given(self) -> dict[str, Any]:
        """Return the fields that were sent."""
        values = ((name, getattr(self, name)) for name in self.__struct_fields__)
        return {name: value for name, value in values if value is not UNSET}


class CreateTenant(_Body, kw_only=True):
    """Body of `POST /admin/tenants`."""

    id: str
    name: str


class UpdateTenant(_Body, kw_only=True):
    """Body of `PATCH /admin/tenants/{id}`."""

    name: str | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET


class _ClientOptions(_Body, kw_only=True):
    role: Role | UnsetType = UNSET
    scopes: list[ScopeName] | UnsetType = UNSET
    default_scopes: list[ScopeName] | UnsetType = UNSET
    auth_methods: list[Method] | UnsetType = UNSET
    jwks: dict[str, Any] | UnsetType | None = UNSET
    assertion_algorithms: list[Algorithm] | UnsetType = UNSET
    dpop: bool | UnsetType = UNSET
    allowed_agents: list[str] | UnsetType | None = UNSET
    allowed_models: list[str] | UnsetType | None = UNSET
    allowed_vector_stores: list[str] | UnsetType | None = UNSET
    end_user: EndUserPolicy | UnsetType = UNSET
    residency: Residency | UnsetType = UNSET


class CreateClient(_ClientOptions, kw_only=True):
    """Body of `POST /admin/clients`; an allow-list of null stands for all of the tenant's."""

    name: str
    tenant: str | UnsetType = UNSET
    client_id: str | UnsetType = UNSET


class UpdateClient(_ClientOptions, kw_only=True):
    """Body of `PATCH /admin/clients/{id}`: what is left out stays."""

    name: str | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET


class RotateSecret(_Body, kw_only=True):
    """Body of `POST /admin/clients/{id}/secrets`: how long older secrets stay valid, at most."""

    overlap_s: int = OVERLAP_S


class CreateKey(_Body, kw_only=True):
    """Body of `POST /admin/clients/{id}/keys`; without `scopes` it follows its client."""

    name: str = ""
    scopes: list[ScopeName] | None = None


class RotateSigningKey(_Body, kw_only=True):
    """Body of `POST /admin/signing-keys`: whether it signs before others can know it."""

    now: bool = False


class TenantObject(msgspec.Struct, kw_only=True):
    """A tenant."""

    id: str
    name: str
    created_at: int
    disabled_at: int | None
    object: Literal["tenant"] = "tenant"


class ClientObject(msgspec.Struct, kw_only=True):
    """A client; it is disabled by itself or with its tenant."""

    id: str
    tenant: str
    name: str
    role: Role
    scopes: list[str]
    default_scopes: list[str]
    auth_methods: list[str]
    jwks: dict[str, Any] | None
    assertion_algorithms: list[str]
    dpop: bool
    allowed_agents: list[str] | None
    allowed_models: list[str] | None
    allowed_vector_stores: list[str] | None
    end_user: EndUserPolicy
    residency: Residency
    created_at: int
    disabled_at: int | None
    object: Literal["client"] = "client"


class CreatedClient(ClientObject, kw_only=True):
    """A client just made; null where it authenticates with its keys alone."""

    client_secret: str | None


class SecretObject(msgspec.Struct, kw_only=True):
    """A valid secret, without the secret itself."""

    id: str
    created_at: int
    expires_at: int | None
    object: Literal["client.secret"] = "client.secret"


class CreatedSecret(SecretObject, kw_only=True):
    """A secret just made."""

    client_secret: str


class SecretList(msgspec.Struct):
    """A client's valid secrets, two at most."""

    data: list[SecretObject]
    object: Literal["list"] = "list"


class KeyObject(msgspec.Struct, kw_only=True):
    """An API key, without the key itself; `scopes` of null follow its client's."""

    id: str
    tenant: str
    client: str
    name: str
    scopes: list[str] | None
    created_at: int
    disabled_at: int | None
    object: Literal["api_key"] = "api_key"


class CreatedKey(KeyObject, kw_only=True):
    """An API key just made."""

    key: str


class SigningKeyObject(msgspec.Struct, kw_only=True):
    """A signing key: published only, in use, or verifying what it has signed."""

    id: str
    algorithm: str
    created_at: int
    signs_from: int
    state: Literal["next", "signing", "retired"]
    object: Literal["signing_key"] = "signing_key"


class SigningKeyList(msgspec.Struct):
    """Every signing key, the newest first."""

    data: list[SigningKeyObject]
    object: Literal["list"] = "list"


def tenant_object(tenant: Tenant) -> TenantObject:
    """Return a tenant for the wire."""
    return TenantObject(
        id=tenant.id,
        name=tenant.name,
        created_at=timestamp(tenant.created_at),
        disabled_at=timestamp(tenant.disabled_at) if tenant.disabled_at else None,
    )


def client_fields(client: Client) -> dict[str, Any]:
    """Return the fields of a `ClientObject`."""
    allowed = client.allowed
    return {
        "id": client.id,
        "tenant": client.tenant,
        "name": client.name,
        "role": client.role,
        "scopes": [scope for scope in SCOPES if scope in client.scopes],
        "default_scopes": [scope for scope in SCOPES if scope in client.default_scopes],
        "auth_methods": sorted(client.auth_methods),
        "jwks": client.jwks,
        "assertion_algorithms": sorted(client.assertion_algorithms),
        "dpop": client.dpop,
        "allowed_agents": None if allowed.agents is None else sorted(allowed.agents),
        "allowed_models": None if allowed.models is None else sorted(allowed.models),
        "allowed_vector_stores": (
            None if allowed.vector_stores is None else sorted(allowed.vector_stores)
        ),
        "end_user": client.end_user,
        "residency": client.residency,
        "created_at": timestamp(client.created_at),
        "disabled_at": timestamp(client.disabled_at) if client.disabled_at else None,
    }


def client_object(client: Client) -> ClientObject:
    """Return a client for the wire."""
    return ClientObject(**client_fields(client))


def secret_fields(secret: Secret) -> dict[str, Any]:
    """Return the fields of a `SecretObject`."""
    expires = timestamp(secret.expires_at) if secret.expires_at else None
    return {"id": secret.id, "created_at": timestamp(secret.created_at), "expires_at": expires}


def key_fields(key: ApiKey) -> dict[str, Any]:
    """Return the fields of a `KeyObject`."""
    return {
        "id": key.id,
        "tenant": key.tenant,
        "client": key.client,
        "name": key.name,
        "scopes": None if key.scopes is None else list(key.scopes),
        "created_at": timestamp(key.created_at),
        "disabled_at": timestamp(key.disabled_at) if key.disabled_at else None,
    }


def key_object(key: ApiKey) -> KeyObject:
    """Return an API key for the wire."""
    return KeyObject(**key_fields(key))


def signing_key_object(key: KeyInfo) -> SigningKeyObject:
    """Return a signing key for the wire."""
    return SigningKeyObject(
        id=key.kid,
        algorithm=key.algorithm,
        created_at=timestamp(key.created_at),
        signs_from=timestamp(key.signs_from),
        state=key.state,
    )
