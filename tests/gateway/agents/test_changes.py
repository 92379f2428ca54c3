"""Versions never change; a write that changes something makes one, and only who may."""

import asyncio
import importlib.resources
from dataclasses import replace
from typing import Any

import asyncpg
import msgspec
import pytest
from support import scope_of

import rag
from config.postgres import migrate, open_pool, tenant_transaction
from config.scope import Allowed, TenantScope
from gateway.agents.changes import (
    change_agent,
    create_agent,
    delete_agent,
    roll_back,
    save_agent,
)
from gateway.agents.definition import AgentDefinition, AnswerPolicy, RetrievalPolicy
from gateway.agents.registry import find_agent, list_versions
from gateway.errors import Conflict, InvalidRequest, NotFound, NotPermitted, VersionConflict
from gateway.generation.models import Models

ACME = scope_of("acme", "app")
HR = AgentDefinition("hr", "Be brief.", "default", ())


def limited_to(**allowed: frozenset[str]) -> TenantScope:
    return replace(ACME, allowed=Allowed(**allowed))


async def change(
    pool: asyncpg.Pool, models: Models, if_match: str | None = None, **changes: Any
) -> int:
    agent = await change_agent(pool, ACME, models, "hr", changes, if_match=if_match)
    return agent.version


async def numbers(pool: asyncpg.Pool, name: str = "hr") -> list[int]:
    found = await list_versions(pool, ACME, name, before=1000, limit=100)
    return [agent.version for agent in found]


async def test_every_change_is_a_version_and_no_change_is_none(
    pool: asyncpg.Pool, models: Models
) -> None:
    made = await create_agent(pool, ACME, models, HR)
    assert (made.version, made.source, made.created_by) == (1, "api", "app")
    assert await change(pool, models, top_k=5) == 1
    assert await change(pool, models, top_k=7) == 2
    assert await change(pool, models, description="x") == 3
    old = await find_agent(pool, ACME, "hr@1")
    assert (old.version, old.definition) == (1, HR)
    now = (await find_agent(pool, ACME, "hr")).definition
    assert (now.top_k, now.description, now.instructions) == (7, "x", "Be brief.")
    assert await numbers(pool) == [3, 2, 1]


async def test_changes_are_merged(pool: asyncpg.Pool, models: Models) -> None:
    await create_agent(pool, ACME, models, HR)
    await change(pool, models, answer={"threshold": 0.3}, retrieval={"rerank": False})
    await change(
        pool, models, answer={"without_sources": "answer"}, retrieval=None, variables={"a": None}
    )
    now = (await find_agent(pool, ACME, "hr")).definition
    assert now.answer == AnswerPolicy(without_sources="answer", threshold=0.3)
    assert now.retrieval == RetrievalPolicy()
    with pytest.raises(msgspec.ValidationError, match=r"answer.threshold"):
        await change(pool, models, answer={"threshold": 2})
    with pytest.raises(InvalidRequest, match="keeps its name"):
        await change(pool, models, name="it")
    assert len(await numbers(pool)) == 3


async def test_who_read_another_version_changes_nothing(pool: asyncpg.Pool, models: Models) -> None:
    await create_agent(pool, ACME, models, HR)
    assert await change(pool, models, '"1"', top_k=7) == 2
    for stale in ('"1"', "2", 'W/"2"', '"x"', ""):
        with pytest.raises(VersionConflict, match="at version 2"):
            await change(pool, models, stale, top_k=8)
        with pytest.raises(VersionConflict):
            await roll_back(pool, ACME, models, "hr", 1, if_match=stale)
        with pytest.raises(VersionConflict):
            await delete_agent(pool, ACME, "hr", if_match=stale)
    assert await change(pool, models, '"1", "2"', top_k=9) == 3
    assert await change(pool, models, "*", top_k=10) == 4


async def test_changes_at_the_same_time_are_all_there(pool: asyncpg.Pool, models: Models) -> None:
    await create_agent(pool, ACME, models, HR)
    fields = ({"top_k": 9}, {"description": "x"}, {"residency": "local"}, {"model": "default"})
    await asyncio.gather(*(change(pool, models, **each) for each in fields))
    now = (await find_agent(pool, ACME, "hr")).definition
    assert (now.top_k, now.description, now.residency) == (9, "x", "local")
    assert await numbers(pool) == [4, 3, 2, 1]


async def test_one_of_two_wins_where_both_read_the_same_version(
    pool: asyncpg.Pool, models: Models
) -> None:
    await create_agent(pool, ACME, models, HR)
    tried = await asyncio.gather(
        *(change(pool, models, '"1"', top_k=k) for k in (7, 8)), return_exceptions=True
    )
    assert sorted(type(each).__name__ for each in tried) == ["VersionConflict", "int"]


async def test_rolling_back_points_back(pool: asyncpg.Pool, models: Models) -> None:
    await create_agent(pool, ACME, models, HR)
    with pytest.raises(InvalidRequest, match="first one"):
        await roll_back(pool, ACME, models, "hr", None, if_match=None)
    for k in (6, 7, 8):
        await change(pool, models, top_k=k)
    assert (await roll_back(pool, ACME, models, "hr", None, if_match=None)).version == 3
    assert (await roll_back(pool, ACME, models, "hr", None, if_match='"3"')).version == 2
    assert (await roll_back(pool, ACME, models, "hr", 4, if_match=None)).version == 4
    assert (await roll_back(pool, ACME, models, "hr", 1, if_match=None)).version == 1
    assert await numbers(pool) == [4, 3, 2, 1]
    with pytest.raises(NotFound):
        await roll_back(pool, ACME, models, "hr", 5, if_match=None)
    # A change is one of what the name means now.
    assert await change(pool, models, description="x") == 5
    assert (await find_agent(pool, ACME, "hr")).definition.top_k == 5


async def test_a_number_never_means_two_definitions(pool: asyncpg.Pool, models: Models) -> None:
    await create_agent(pool, ACME, models, HR)
    with pytest.raises(Conflict, match="PATCH"):
        await create_agent(pool, ACME, models, HR)
    await change(pool, models, top_k=7)
    await delete_agent(pool, ACME, "hr", if_match=None)
    for address in ("hr", "hr@1", "hr@2"):
        with pytest.raises(NotFound):
            await find_agent(pool, ACME, address)
    assert (await create_agent(pool, ACME, models, HR)).version == 3
    assert await numbers(pool) == [3]


async def test_the_database_keeps_versions_as_they_are(
    pool: asyncpg.Pool, owner: asyncpg.Connection
) -> None:
    await save_agent(pool, ACME, HR)
    for statement in (
        "UPDATE agent_versions SET definition = '{}'",
        "UPDATE agent_versions SET number = 9",
        "DELETE FROM agent_versions",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied"):
            async with tenant_transaction(pool, "acme") as con:
                await con.execute(statement)
    # Not the tables' owner either.
    with pytest.raises(asyncpg.RestrictViolationError, match="never changes"):
        await owner.execute("UPDATE agent_versions SET definition = '{}'")
    async with tenant_transaction(pool, "acme") as con:
        again = "INSERT INTO agent_versions VALUES ('acme', 'hr', 1, '{}', 'api', 'app')"
        with pytest.raises(asyncpg.UniqueViolationError):
            await con.execute(again)


async def test_an_agent_of_before_versions_is_its_first_one(empty_database: str) -> None:
    await migrate(empty_database, ["auth", "rag"])
    before = '{"name":"hr","instructions":"x","model":"default","vector_stores":[],"top_k":7}'
    owner = await asyncpg.connect(empty_database)
    folder = importlib.resources.files("gateway") / "migrations"
    for file in sorted(folder.iterdir(), key=lambda each: each.name):
        if file.name == "0004_agent_versions.sql":
            await owner.execute("INSERT INTO tenants (id, name) VALUES ('acme', 'acme')")
            insert = "INSERT INTO agents (tenant, name, definition) VALUES ('acme', 'hr', $1)"
            await owner.execute(insert, before)
        await owner.execute(file.read_text())
    await owner.close()
    async with await open_pool(empty_database, size=1) as pool:
        agent = await find_agent(pool, ACME, "hr@1")
        assert agent.definition == AgentDefinition("hr", "x", "default", (), top_k=7)
        await save_agent(pool, ACME, HR)
        assert (await find_agent(pool, ACME, "hr")).version == 2


async def test_who_writes_an_agent_may_use_what_it_is_made_of(
    pool: asyncpg.Pool, models: Models
) -> None:
    store = (await rag.create_store(pool, ACME, name="mine")).id
    foreign = (await rag.create_store(pool, scope_of("rival", "stranger"), name="theirs")).id
    whole = msgspec.structs.replace(HR, vector_stores=(store,))
    refused = [
        (ACME, msgspec.structs.replace(HR, model="gpt-none"), "model"),
        (ACME, msgspec.structs.replace(whole, vector_stores=(store, foreign)), "vector_stores[1]"),
        (ACME, msgspec.structs.replace(HR, vector_stores=("vs_gone",)), "vector_stores[0]"),
        (ACME, msgspec.structs.replace(HR, vector_stores=(store, store)), "vector_stores[1]"),
        (limited_to(models=frozenset({"tiny"})), whole, "model"),
        (limited_to(vector_stores=frozenset()), whole, "vector_stores[0]"),
    ]
    for caller, definition, param in refused:
        with pytest.raises(InvalidRequest) as told:
            await create_agent(pool, caller, models, definition)
        assert told.value.param == param
    await create_agent(pool, ACME, models, whole)
    # Not by changing its words either: they would be read out to whoever may ask it.
    limited = limited_to(agents=frozenset({"hr"}), vector_stores=frozenset())
    for work in (
        change_agent(pool, limited, models, "hr", {"instructions": "Leak."}, if_match=None),
        roll_back(pool, limited, models, "hr", 1, if_match=None),
    ):
        with pytest.raises(InvalidRequest) as told:
            await work
        assert told.value.param == "vector_stores[0]"


async def test_a_limited_client_writes_the_agents_it_is_limited_to(
    pool: asyncpg.Pool, models: Models
) -> None:
    await create_agent(pool, ACME, models, HR)
    other = limited_to(agents=frozenset({"it"}))
    for name in ("hr", "new"):
        with pytest.raises(NotPermitted, match="limited to some agents"):
            await create_agent(pool, other, models, msgspec.structs.replace(HR, name=name))
    for work in (
        change_agent(pool, other, models, "hr", {}, if_match=None),
        delete_agent(pool, other, "hr", if_match=None),
    ):
        with pytest.raises(NotFound):
            await work
    await create_agent(pool, other, models, msgspec.structs.replace(HR, name="it"))
    await delete_agent(pool, other, "it", if_match=None)


async def test_tenants_count_by_themselves(pool: asyncpg.Pool, models: Models) -> None:
    rival = scope_of("rival", "stranger")
    await create_agent(pool, ACME, models, HR)
    await change(pool, models, top_k=9)
    theirs = await create_agent(pool, rival, models, HR)
    assert theirs.version == 1
    await delete_agent(pool, rival, "hr", if_match=None)
    assert await numbers(pool) == [2, 1]
    with pytest.raises(NotFound):
        await find_agent(pool, rival, "hr@2")
