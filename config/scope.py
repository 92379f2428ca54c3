"""Who is asking. Stands here so that `rag` can demand it without knowing `auth`."""

from dataclasses import dataclass, field, replace
from typing import Literal, Self

SCOPES = ("inference", "agents", "agents:write", "knowledge", "knowledge:write", "admin")
"""Every scope a token can carry, in the order the metadata advertises them."""

DEFAULT_SCOPES = tuple(scope for scope in SCOPES if scope != "admin")
"""What a client or key gets when nothing else is said."""

Role = Literal["viewer", "editor", "admin", "operator"]
"""What a client may do beyond reading, each with what the ones before it may: a viewer changes
nothing, an editor agents and knowledge, an admin its tenant's clients and keys, an operator every
tenant and the signing keys. Scopes say which of it a token carries."""

Residency = Literal["any", "local"]
"""Where prompts may go: anywhere, or to our own models alone."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """Which objects of its tenant a caller may use, by name or id; None stands for all."""

    agents: frozenset[str] | None = None
    models: frozenset[str] | None = None
    vector_stores: frozenset[str] | None = None


EVERYTHING = Allowed()


@dataclass(frozen=True, slots=True)
class TenantScope:
    """The verified caller. Made only by `auth`; every repository and search call demands one.

    Attributes:
        tenant: Tenant id; all data is separated by it.
        client: OAuth client id; sessions belong to tenant and client. A key acts as its client.
        scopes: What the caller was granted, out of `SCOPES`.
        key: Id of the API key used, or None when a token was.
        end_user: For whom the client says it acts; sessions are its alone. Empty: for nobody.
        names_end_users: Whether the client may say for whom it acts.
        role: What the client is within its tenant.
        allowed: Which objects it may use.
        local_only: Its prompts never leave for a model that is not our own.
    """

    tenant: str
    client: str
    scopes: frozenset[str]
    key: str | None = None
    end_user: str = ""
    names_end_users: bool = field(default=False, compare=False)
    role: Role = "viewer"
    allowed: Allowed = EVERYTHING
    local_only: bool = False

    def may_use_model(self, name: str) -> bool:
        """Tell whether the caller may use the model or alias `name`."""
        return self.allowed.models is None or name in self.allowed.models

    def as_agent(self, vector_stores: frozenset[str]) -> Self:
        """Return what an agent may do for this caller: use its own model and vector stores."""
        return replace(self, allowed=Allowed(self.allowed.agents, None, vector_stores))
