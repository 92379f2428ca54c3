"""Agents, per tenant, in PostgreSQL."""

import asyncpg
import msgspec

from config.postgres import Database, load_queries, tenant_transaction
from config.scope import TenantScope
from gateway.agents.definition import AgentDefinition
from gateway.errors import NotFound

_SQL = load_queries("gateway.agents", "queries.sql")


class Agent(msgspec.Struct, frozen=True):
    """An agent as it was asked for; `created` is in seconds since 1970.

    `version` is the number of its definition; `alias` by which alias it was named, if by one.
    """

    definition: AgentDefinition
    created: int
    version: int = 1
    alias: str | None = None

    @property
    def name(self) -> str:
        """Return what it is called, without version or alias."""
        return self.definition.name


async def save_agent(db: Database, scope: TenantScope, definition: AgentDefinition) -> None:
    """Create the agent in the caller's tenant, or replace the one of that name.

    Raises:
        msgspec.ValidationError: The definition breaks its own bounds.
    """
    text = msgspec.json.encode(definition)
    msgspec.json.decode(text, type=AgentDefinition)
    async with tenant_transaction(db, scope.tenant) as con:
        await con.execute(_SQL["save_agent"], scope.tenant, definition.name, text.decode())


async def find_agent(db: Database, scope: TenantScope, name: str) -> Agent:
    """Return the caller's agent.

    Raises:
        NotFound: There is none of that name, or the caller may not use it.
    """
    async with tenant_transaction(db, scope.tenant) as con:
        row = await con.fetchrow(_SQL["find_agent"], scope.tenant, scope.allowed.agents, name)
    if row is None:
        raise NotFound(
            f"no agent `{name[:64]}` here: `GET /v1/agents` lists them", code="agent_not_found"
        )
    return _agent(row)


async def list_agents(db: Database, scope: TenantScope) -> list[Agent]:
    """Return the agents the caller may use, by name."""
    async with tenant_transaction(db, scope.tenant) as con:
        rows = await con.fetch(_SQL["list_agents"], scope.tenant, scope.allowed.agents)
    return [_agent(row) for row in rows]


def _agent(row: asyncpg.Record) -> Agent:
    return Agent(msgspec.json.decode(row["definition"], type=AgentDefinition), row["created"])
