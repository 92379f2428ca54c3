"""Agents, their versions and aliases as they go over the wire."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from gateway.agents.address import Target, VersionNumber
from gateway.agents.aliases import Alias
from gateway.agents.definition import (
    MAX_STORES,
    MAX_VARIABLES,
    AgentDefinition,
    AgentName,
    AnswerPolicy,
    HistoryPolicy,
    ModelName,
    RetrievalPolicy,
    StoreId,
    Variable,
    VariableName,
)
from gateway.agents.registry import Agent, Source


class AgentObject(AgentDefinition, frozen=True, kw_only=True):
    """An agent: its definition, and which version of it this is.

    Times are in seconds since 1970; `created` is the agent's. `source` is `file` where a file of
    the operator's says what the agent is; it can't be changed over HTTP then.
    """

    version: int
    version_created: int
    created: int
    created_by: str
    source: Source
    object: Literal["agent"] = "agent"


class AgentList(msgspec.Struct):
    """What `GET /v1/agents` answers."""

    data: list[AgentObject]
    object: Literal["list"] = "list"


class VersionList(AgentList):
    """Versions, the newest first; where there are more, `before` the last one's number."""

    has_more: bool = False


class AgentChanges(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `PATCH /v1/agents/{name}`: merged as RFC 7396 says; null means the default."""

    name: AgentName | UnsetType = UNSET
    instructions: Annotated[str, Meta(max_length=100_000)] | UnsetType = UNSET
    model: ModelName | UnsetType = UNSET
    vector_stores: Annotated[tuple[StoreId, ...], Meta(max_length=MAX_STORES)] | UnsetType = UNSET
    top_k: Annotated[int, Meta(ge=1, le=50)] | UnsetType | None = UNSET
    residency: Literal["any", "local"] | UnsetType | None = UNSET
    description: Annotated[str, Meta(max_length=1000)] | UnsetType | None = UNSET
    retrieval: RetrievalPolicy | UnsetType | None = UNSET
    history: HistoryPolicy | UnsetType | None = UNSET
    answer: AnswerPolicy | UnsetType | None = UNSET
    variables: (
        Annotated[dict[VariableName, Variable | None], Meta(max_length=MAX_VARIABLES)]
        | UnsetType
        | None
    ) = UNSET


class RollBack(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /v1/agents/{name}/rollback`; without a `version`, the one before."""

    version: VersionNumber | None = None


class PutAlias(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `PUT /v1/agents/{name}/aliases/{alias}`: one version, or several by weight."""

    targets: Annotated[tuple[Target, ...], Meta(min_length=1, max_length=8)] | UnsetType = UNSET
    version: VersionNumber | UnsetType = UNSET

    def __post_init__(self) -> None:
        if (self.targets is UNSET) == (self.version is UNSET):
            raise ValueError("set either version or targets")

    @property
    def wanted(self) -> tuple[Target, ...]:
        """Return where it is to point."""
        if self.version is not UNSET:
            return (Target(self.version),)
        return self.targets or ()


class AliasObject(msgspec.Struct):
    """An alias; `before` is where it pointed until `updated`, in seconds since 1970.

    `agent@name` is how it is asked for.
    """

    name: str
    agent: str
    targets: tuple[Target, ...]
    before: tuple[Target, ...] | None
    updated: int
    object: Literal["agent.alias"] = "agent.alias"


class AliasList(msgspec.Struct):
    """What `GET /v1/agents/{name}/aliases` answers."""

    data: list[AliasObject]
    object: Literal["list"] = "list"


def agent_object(agent: Agent) -> AgentObject:
    """Return an agent as it is shown."""
    return AgentObject(
        **msgspec.structs.asdict(agent.definition),
        version=agent.version,
        version_created=agent.version_created,
        created=agent.created,
        created_by=agent.created_by,
        source=agent.source,
    )


def alias_object(alias: Alias) -> AliasObject:
    """Return an alias as it is shown."""
    return AliasObject(alias.name, alias.agent, alias.targets, alias.before, alias.updated)
