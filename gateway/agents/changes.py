"""How agents change: a write that changes something makes a version, and no version ever changes.

Who writes an agent must be allowed to use what it is made of: whoever may ask the agent then
reaches its model and its stores through it (`TenantScope.as_agent`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from config.postgres import Connection, Database, load_queries, tenant_transaction
from config.scope import TenantScope
from gateway.agents.address import Address
from gateway.agents.definition import AgentDefinition
from gateway.agents.registry import Agent, Source, find_version, plain, seen, unknown_agent
from gateway.agents.variables import check_template
from gateway.errors import Conflict, InvalidRequest, NotPermitted, VersionConflict
from gateway.generation.models import Models
from rag.errors import NotFound as StoreNotFound
from rag.stores import find_store

_SQL = load_queries("gateway.agents", "queries.sql")
_decode = msgspec.json.Decoder(AgentDefinition).decode


@dataclass(frozen=True, slots=True)
class _Locked:
    """An agent's row, held until the transaction ends."""

    name: str
    current: int
    source: Source
    withdrawn: bool


async def create_agent(
    db: Database, scope: TenantScope, models: Models, definition: AgentDefinition
) -> Agent:
    """Make an agent.

    Raises:
        InvalidRequest: Its template does not fit, or it names what the caller may not use.
        NotPermitted: The caller is limited to other agents.
        Conflict: There is an agent of that name, or a model.
    """
    name = definition.name
    if scope.allowed.agents is not None and name not in scope.allowed.agents:
        raise NotPermitted(
            "this client is limited to some agents and can't make others: have one made by a"
            " client that is not, and allowed to this one",
            code="not_allowed",
        )
    if models.has_alias(name):
        raise taken_by_model(name)
    check_definition(definition)
    async with tenant_transaction(db, scope.tenant) as con:
        await check_parts(con, scope, models, definition)
        if not await con.fetchval(_SQL["add_agent"], scope.tenant, name, "api"):
            held = await _lock(con, scope, name)
            if not (held and held.withdrawn):
                raise Conflict(f"there is an agent `{name}`: PATCH changes it", code="agent_exists")
        await _add_version(con, scope, definition, "api")
        return await find_version(con, scope, Address(name))


async def change_agent(
    db: Database,
    scope: TenantScope,
    models: Models,
    name: str,
    changes: dict[str, Any],
    *,
    if_match: str | None,
) -> Agent:
    """Change what is given of an agent, as RFC 7396 merges it; its current version is the base.

    Raises:
        NotFound: The caller has no such agent.
        Conflict: It comes from a file.
        VersionConflict: `if_match` is not the current version.
        InvalidRequest: What comes of it is no agent, or names what the caller may not use.
        msgspec.ValidationError: A field is out of its bounds.
    """
    async with tenant_transaction(db, scope.tenant) as con:
        held = await _lock_to_change(con, scope, name, if_match)
        before = await find_version(con, scope, Address(name))
        after = _merged(before.definition, changes)
        check_definition(after)
        await check_parts(con, scope, models, after)
        if after != before.definition:
            await _add_version(con, scope, after, held.source)
        return await find_version(con, scope, Address(name))


async def roll_back(
    db: Database,
    scope: TenantScope,
    models: Models,
    name: str,
    version: int | None,
    *,
    if_match: str | None,
) -> Agent:
    """Let the plain name mean an earlier version again: the named one, or the one before.

    Raises:
        NotFound: The caller has no such agent, or it has no such version.
        Conflict: It comes from a file.
        VersionConflict: `if_match` is not the current version.
        InvalidRequest: There is none before, or the version names what the caller may not use.
    """
    async with tenant_transaction(db, scope.tenant) as con:
        held = await _lock_to_change(con, scope, name, if_match)
        if version is None:
            version = await con.fetchval(
                _SQL["version_before"], scope.tenant, held.name, held.current
            )
        if version is None:
            raise InvalidRequest(
                f"version: {held.current} is the first one", param="version", code="no_version"
            )
        found = await find_version(con, scope, Address(name, version))
        await check_parts(con, scope, models, found.definition)
        await con.execute(_SQL["point_at"], scope.tenant, held.name, version)
        return await find_version(con, scope, Address(name))


async def delete_agent(
    db: Database, scope: TenantScope, name: str, *, if_match: str | None
) -> None:
    """Delete an agent with its versions and aliases; what was said to it stays.

    Raises:
        NotFound: The caller has no such agent.
        Conflict: It comes from a file.
        VersionConflict: `if_match` is not the current version.
    """
    async with tenant_transaction(db, scope.tenant) as con:
        held = await _lock_to_change(con, scope, name, if_match)
        await con.execute(_SQL["delete_agent"], scope.tenant, held.name)


async def save_agent(
    db: Database, scope: TenantScope, definition: AgentDefinition, source: Source = "api"
) -> bool:
    """Create the agent in the caller's tenant, or make it this; tell whether that changed it.

    What it is made of is not checked: the operator's word stands for it.

    Raises:
        InvalidRequest: Its template does not fit.
        msgspec.ValidationError: The definition breaks its own bounds.
    """
    _decode(msgspec.json.encode(definition))
    check_definition(definition)
    name = definition.name
    async with tenant_transaction(db, scope.tenant) as con:
        await con.fetchval(_SQL["add_agent"], scope.tenant, name, source)
        held = await _lock(con, scope, name)
        if held is None:
            raise unknown_agent(name)
        if held.current:
            await con.execute(_SQL["take_over"], scope.tenant, name, source)
            if (await find_version(con, scope, Address(name))).definition == definition:
                return held.withdrawn or held.source != source
        await _add_version(con, scope, definition, source)
    return True


def taken_by_model(name: str) -> Conflict:
    """Return the error for a name under which no agent could be asked as a model."""
    return Conflict(
        f"name: `{name}` is a model of the settings, which answers under it: choose another",
        param="name",
        code="model_exists",
    )


def check_definition(definition: AgentDefinition) -> None:
    """Refuse what its types alone allow.

    Raises:
        InvalidRequest: `param` names the field.
    """
    check_template(definition)
    stores = definition.vector_stores
    for place, store in enumerate(stores):
        if store in stores[:place]:
            param = f"vector_stores[{place}]"
            raise InvalidRequest(f"{param}: `{store}` stands there twice", param=param)


async def check_parts(
    con: Connection, scope: TenantScope, models: Models, definition: AgentDefinition
) -> None:
    """Refuse an agent that names a model or a store that its writer may not use, or nobody can.

    Raises:
        InvalidRequest: `param` names the field.
    """
    if models.find(scope, definition.model) is None:
        raise InvalidRequest(
            f"model: there is no `{definition.model}` for this client: `GET /v1/models` lists"
            " the aliases, and `provider/model` reaches a configured provider",
            param="model",
            code="model_not_found",
        )
    await check_stores(con, scope, definition.vector_stores)


async def check_stores(con: Connection, scope: TenantScope, stores: Sequence[str]) -> None:
    """Refuse a vector store that the caller may not use, or that is not there.

    Raises:
        InvalidRequest: `param` names the field.
    """
    for place, store in enumerate(stores):
        try:
            await find_store(con, scope, store)
        except StoreNotFound:
            param = f"vector_stores[{place}]"
            raise InvalidRequest(
                f"{param}: there is no vector store `{store}` for this client",
                param=param,
                code="vector_store_not_found",
            ) from None


async def _lock(con: Connection, scope: TenantScope, name: str) -> _Locked | None:
    row = await con.fetchrow(_SQL["lock_agent"], *seen(scope, name))
    return None if row is None else _Locked(**row)


async def _lock_to_change(
    con: Connection, scope: TenantScope, name: str, if_match: str | None
) -> _Locked:
    held = await _lock(con, scope, plain(name).name)
    if held is None or held.withdrawn:
        raise unknown_agent(name)
    if held.source == "file":
        raise Conflict(
            f"the agent `{name}` comes from a file of the operator's: change that, or make another",
            code="agent_from_file",
        )
    if if_match is not None and not _matches(if_match, held.current):
        raise VersionConflict(
            f"if-match: the agent `{name}` is at version {held.current}: read it and try again",
            param="if-match",
            code="version_conflict",
        )
    return held


def _matches(if_match: str, version: int) -> bool:
    tags = [tag.strip() for tag in if_match.split(",")]
    return "*" in tags or f'"{version}"' in tags


async def _add_version(
    con: Connection, scope: TenantScope, definition: AgentDefinition, source: Source
) -> None:
    text = msgspec.json.encode(definition).decode()
    values = definition.name, text, source, "" if source == "file" else scope.client
    await con.execute(_SQL["add_version"], scope.tenant, *values)


def _merged(before: AgentDefinition, changes: dict[str, Any]) -> AgentDefinition:
    merged = _merge(msgspec.to_builtins(before), changes)
    after = _decode(msgspec.json.encode(merged))
    if after.name != before.name:
        raise InvalidRequest("name: an agent keeps its name; make another", param="name")
    return after


def _merge(target: object, patch: object) -> object:
    """Merge as RFC 7396 section 2 says; null takes a member away, so that its default holds."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merge(merged.get(name), value)
    return merged
