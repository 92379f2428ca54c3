"""Aliases of an agent: a name that stands for a version, or for several by weight (a canary)."""

import re
from collections.abc import Sequence

import asyncpg
import msgspec

from config.postgres import Connection, Database, load_queries, tenant_transaction
from config.scope import TenantScope
from gateway.agents.address import ALIAS_PATTERN, Address, Target
from gateway.agents.changes import check_parts
from gateway.agents.registry import find_version, plain, read_targets, seen
from gateway.errors import Conflict, InvalidRequest, NotFound
from gateway.generation.models import Models

_SQL = load_queries("gateway.agents", "queries.sql")
MAX_ALIASES = 32
"""How many an agent can have."""


class Alias(msgspec.Struct, frozen=True):
    """An alias; `before` is where it pointed until `updated`, in seconds since 1970."""

    agent: str
    name: str
    targets: tuple[Target, ...]
    before: tuple[Target, ...] | None
    updated: int


async def list_aliases(db: Database, scope: TenantScope, name: str | None = None) -> list[Alias]:
    """Return the aliases of an agent, or of all that the caller may use.

    Raises:
        NotFound: There is no such agent, or the caller may not use it.
    """
    async with tenant_transaction(db, scope.tenant) as con:
        if name is not None:
            await find_version(con, scope, plain(name))
        query = _SQL["list_aliases"]
        rows = await con.fetch(query, scope.tenant, scope.allowed.agents, name)
    return [_alias(row, row["agent"]) for row in rows]


async def get_alias(db: Database, scope: TenantScope, name: str, alias: str) -> Alias:
    """Return an alias.

    Raises:
        NotFound: There is none, or the caller may not use the agent.
    """
    async with tenant_transaction(db, scope.tenant) as con:
        await find_version(con, scope, plain(name))
        return await _find(con, scope, name, alias)


async def put_alias(
    db: Database,
    scope: TenantScope,
    models: Models,
    name: str,
    alias: str,
    targets: Sequence[Target],
) -> Alias:
    """Let an alias point at these versions; make it where there is none.

    Raises:
        NotFound: There is no such agent, or the caller may not use it.
        InvalidRequest: No alias can be called like that; the agent lacks a version, which is named,
            or one stands there twice; or it is made of what the caller may not use.
        Conflict: It has as many aliases as it can.
    """
    if not re.match(ALIAS_PATTERN, alias):
        raise InvalidRequest(
            "alias: use up to 32 of a-z, 0-9 and `-`, a letter first", param="alias"
        )
    wanted = sorted(targets, key=lambda target: target.version)
    numbers = [target.version for target in wanted]
    if len(set(numbers)) < len(numbers):
        raise InvalidRequest("targets: a version stands there twice", param="targets")
    async with tenant_transaction(db, scope.tenant) as con:
        await con.fetchrow(_SQL["lock_agent"], *seen(scope, plain(name).name))
        await find_version(con, scope, Address(name))
        known = await con.fetch(_SQL["list_aliases"], *seen_all(scope), name)
        if len(known) >= MAX_ALIASES and alias not in {row["name"] for row in known}:
            raise Conflict(f"an agent can have {MAX_ALIASES} aliases: delete one", code="too_many")
        for number in numbers:
            await _check_version(con, scope, models, Address(name, number))
        text = msgspec.json.encode(wanted).decode()
        await con.execute(_SQL["put_alias"], scope.tenant, name, alias, text)
        return await _find(con, scope, name, alias)


async def roll_back_alias(
    db: Database, scope: TenantScope, models: Models, name: str, alias: str
) -> Alias:
    """Let an alias point where it did before its last change; doing it again takes that back.

    Raises:
        NotFound: There is no such alias, or the caller may not use the agent.
        InvalidRequest: It never pointed anywhere else.
    """
    found = await get_alias(db, scope, name, alias)
    if found.before is None:
        raise InvalidRequest(f"the alias `{alias}` never pointed anywhere else", code="no_version")
    return await put_alias(db, scope, models, name, alias, found.before)


async def delete_alias(db: Database, scope: TenantScope, name: str, alias: str) -> None:
    """Delete an alias; the versions stay.

    Raises:
        NotFound: There is no such alias, or the caller may not use the agent.
    """
    async with tenant_transaction(db, scope.tenant) as con:
        await find_version(con, scope, plain(name))
        if not await con.fetchval(_SQL["delete_alias"], scope.tenant, name, alias):
            raise _unknown(alias)


def seen_all(scope: TenantScope) -> tuple[str, frozenset[str] | None]:
    """Return the parameters that say who looks for agents."""
    return scope.tenant, scope.allowed.agents


async def _check_version(
    con: Connection, scope: TenantScope, models: Models, asked: Address
) -> None:
    try:
        found = await find_version(con, scope, asked)
    except NotFound:
        raise InvalidRequest(
            f"targets: the agent has no version {asked.version}", param="targets", code="no_version"
        ) from None
    await check_parts(con, scope, models, found.definition)


async def _find(con: Connection, scope: TenantScope, name: str, alias: str) -> Alias:
    row = await con.fetchrow(_SQL["find_alias"], *seen(scope, name), alias)
    if row is None:
        raise _unknown(alias)
    return _alias(row, name)


def _alias(row: asyncpg.Record, agent: str) -> Alias:
    before = row["before"]
    return Alias(
        agent=agent,
        name=row["name"],
        targets=read_targets(row["targets"]),
        before=None if before is None else read_targets(before),
        updated=row["updated"],
    )


def _unknown(alias: str) -> NotFound:
    return NotFound(f"the agent has no alias `{alias[:64]}`", code="alias_not_found")
