"""What tests of several packages share."""

from config.scope import SCOPES, TenantScope


def scope_of(tenant: str = "acme", client: str = "client-1", *scopes: str) -> TenantScope:
    """A caller, as `auth` would make it."""
    return TenantScope(tenant=tenant, client=client, scopes=frozenset(scopes or SCOPES[:-1]))
