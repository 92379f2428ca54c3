"""What tests of several packages share."""

import socket

from config.scope import DEFAULT_SCOPES, TenantScope


def scope_of(tenant: str = "acme", client: str = "client-1", *scopes: str) -> TenantScope:
    """A caller, as `auth` would make it."""
    return TenantScope(tenant=tenant, client=client, scopes=frozenset(scopes or DEFAULT_SCOPES))


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nothing listens on at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
