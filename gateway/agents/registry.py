"""Agents, per tenant, in PostgreSQL: what there is to ask. How they change stands in `changes`."""

from typing import Literal

import asyncpg
import msgspec

from config.postgres import Connection, Database, load_queries, tenant_transaction
from config.scope import TenantScope
from gateway.agents.address import Address, Target, choose, read_address
from gateway.agents.definition import AgentDefinition
from gateway.errors import NotFound

_SQL = load_queries("gateway.agents", "queries.sql")

Source = Literal["api", "file"]
"""Where an agent, or a version of one, comes from."""


class Agent(msgspec.Struct, frozen=True):
    """An agent as it was asked for; times are in seconds since 1970.

    `version` is the number of its definition, made at `version_created` by the client `created_by`;
    `alias` by which alias it was named, if by one.
    """

    definition: AgentDefinition
    created: int
    version: int = 1
    alias: str | None = None
    source: Source = "api"
    created_by: str = ""
    version_created: int = 0

    @property
    def name(self) -> str:
        """Return what it is called, without version or alias."""
        return self.definition.name


async def find_agent(
    db: Database, scope: TenantScope, address: str, *, affinity: str | None = None
) -> Agent:
    """Return the caller's agent, by `name`, `name@version` or `name@alias`.

    Where an alias points at several versions, an end user gets the same one each time; without one,
    `affinity` (a conversation's id) does; without either, chance decides.

    Raises:
        NotFound: There is none of that name, version or alias, or the caller may not use it.
    """
    asked = read_address(address)
    if asked is None:
        raise unknown_agent(address)
    async with tenant_transaction(db, scope.tenant) as con:
        if asked.alias is None:
            return await find_version(con, scope, asked)
        alias = await con.fetchrow(_SQL["find_alias"], *seen(scope, asked.name), asked.alias)
        if alias is None:
            raise unknown_agent(address)
        targets = read_targets(alias["targets"])
        sticky = [part for part in (scope.end_user or affinity,) if part]
        who = (scope.tenant, scope.client, asked.name, asked.alias, *sticky) if sticky else ()
        number = choose(targets, *who)
        found = await find_version(con, scope, Address(asked.name, number))
    return msgspec.structs.replace(found, alias=asked.alias)


async def find_version(con: Connection, scope: TenantScope, asked: Address) -> Agent:
    """Return a version of the caller's agent, the current one unless it is named.

    Raises:
        NotFound: There is none, or the caller may not use it.
    """
    row = await con.fetchrow(_SQL["find_agent"], *seen(scope, asked.name), asked.version)
    if row is None:
        at = "" if asked.version is None else f"@{asked.version}"
        raise unknown_agent(f"{asked.name}{at}")
    return _agent(row)


async def list_agents(db: Database, scope: TenantScope) -> list[Agent]:
    """Return the agents the caller may use, by name."""
    async with tenant_transaction(db, scope.tenant) as con:
        rows = await con.fetch(_SQL["list_agents"], scope.tenant, scope.allowed.agents)
    return [_agent(row) for row in rows]


async def list_versions(
    db: Database, scope: TenantScope, name: str, *, before: int, limit: int
) -> list[Agent]:
    """Return versions of an agent with numbers under `before`, the newest first.

    Raises:
        NotFound: There is no such agent, or the caller may not use it.
    """
    async with tenant_transaction(db, scope.tenant) as con:
        await find_version(con, scope, plain(name))
        rows = await con.fetch(_SQL["list_versions"], *seen(scope, name), before, limit)
    return [_agent(row) for row in rows]


async def get_version(db: Database, scope: TenantScope, name: str, version: str) -> Agent:
    """Return the version of this number.

    Raises:
        NotFound: There is none, or the caller may not use the agent.
    """
    asked = read_address(f"{name}@{version}")
    try:
        if asked is not None and asked.version is not None:
            async with tenant_transaction(db, scope.tenant) as con:
                return await find_version(con, scope, asked)
    except NotFound:
        pass
    raise NotFound(
        f"no version `{version[:32]}` of an agent `{name[:100]}` here", code="agent_not_found"
    )


def plain(name: str) -> Address:
    """Return the address of an agent that is named without version or alias.

    Raises:
        NotFound: No agent can be called like that.
    """
    asked = read_address(name)
    if asked is None or asked != Address(asked.name):
        raise unknown_agent(name)
    return asked


def seen(scope: TenantScope, name: str) -> tuple[str, frozenset[str] | None, str]:
    """Return the parameters that say who looks for which agent."""
    return scope.tenant, scope.allowed.agents, name


def read_targets(text: str) -> tuple[Target, ...]:
    """Return where an alias points, as stored."""
    return msgspec.json.decode(text, type=tuple[Target, ...])


def unknown_agent(name: str) -> NotFound:
    """Return the error for an agent, a version or an alias that is not there for the caller."""
    return NotFound(
        f"no agent `{name[:100]}` here: `GET /v1/agents` lists them", code="agent_not_found"
    )


def _agent(row: asyncpg.Record) -> Agent:
    values = dict(row)
    definition = msgspec.json.decode(values.pop("definition"), type=AgentDefinition)
    return Agent(definition, **values)
