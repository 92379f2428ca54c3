"""Who is asking. Stands here so that `rag` can demand it without knowing `auth`."""

from dataclasses import dataclass

SCOPES = ("inference", "agents", "agents:write", "knowledge", "knowledge:write", "admin")
"""Every scope a token can carry, in the order the metadata advertises them."""

DEFAULT_SCOPES = tuple(scope for scope in SCOPES if scope != "admin")
"""What a client or key gets when nothing else is said."""


@dataclass(frozen=True, slots=True)
class TenantScope:
    """The verified caller. Made only by `auth`; every repository and search call demands one.

    Attributes:
        tenant: Tenant id; all data is separated by it.
        client: OAuth client id; sessions belong to tenant and client. A key acts as its client.
        scopes: What the caller was granted, out of `SCOPES`.
        key: Id of the API key used, or None when a token was.
    """

    tenant: str
    client: str
    scopes: frozenset[str]
    key: str | None = None
