"""Aliases point at versions, one or several by weight, and back."""

from dataclasses import replace

import asyncpg
import pytest
from support import scope_of

from config.scope import Allowed
from gateway.agents.address import Target
from gateway.agents.aliases import (
    delete_alias,
    get_alias,
    list_aliases,
    put_alias,
    roll_back_alias,
)
from gateway.agents.changes import delete_agent, save_agent
from gateway.agents.definition import AgentDefinition
from gateway.agents.registry import find_agent
from gateway.errors import InvalidRequest, NotFound
from gateway.generation.models import Models

ACME, RIVAL = scope_of("acme", "app"), scope_of("rival", "stranger")
ONE, TWO = (Target(1),), (Target(2),)
CANARY = (Target(1, 50), Target(2, 50))


@pytest.fixture
async def two(pool: asyncpg.Pool) -> asyncpg.Pool:
    """`hr` of `acme` in two versions, told apart by their `top_k`."""
    for k in (1, 2):
        await save_agent(pool, ACME, AgentDefinition("hr", "", "default", (), top_k=k))
    return pool


async def test_an_alias_moves_and_goes_back(two: asyncpg.Pool, models: Models) -> None:
    made = await put_alias(two, ACME, models, "hr", "prod", ONE)
    assert (made.targets, made.before) == (ONE, None)
    with pytest.raises(InvalidRequest, match="never pointed"):
        await roll_back_alias(two, ACME, models, "hr", "prod")
    agent = await find_agent(two, ACME, "hr@prod")
    assert (agent.version, agent.alias, agent.definition.top_k) == (1, "prod", 1)
    moved = await put_alias(two, ACME, models, "hr", "prod", TWO)
    assert (moved.targets, moved.before) == (TWO, ONE)
    # The same again is no change: what was before is not forgotten.
    assert await put_alias(two, ACME, models, "hr", "prod", TWO) == moved
    assert (await roll_back_alias(two, ACME, models, "hr", "prod")).targets == ONE
    assert (await find_agent(two, ACME, "hr@prod")).version == 1
    assert (await find_agent(two, ACME, "hr")).version == 2
    assert [alias.name for alias in await list_aliases(two, ACME, "hr")] == ["prod"]
    await delete_alias(two, ACME, "hr", "prod")
    for address in ("hr@prod", "hr@gone"):
        with pytest.raises(NotFound):
            await find_agent(two, ACME, address)


async def test_a_canary_is_sticky_per_end_user_and_session(
    two: asyncpg.Pool, models: Models
) -> None:
    await put_alias(two, ACME, models, "hr", "prod", CANARY)

    async def versions(users: list[str], sessions: list[str]) -> list[int]:
        return [
            (
                await find_agent(two, replace(ACME, end_user=user), "hr@prod", affinity=session)
            ).version
            for user in users
            for session in sessions
        ]

    many = [f"x{n}" for n in range(24)]
    assert set(await versions(many, ["s"])) == {1, 2}
    assert set(await versions([""], many)) == {1, 2}
    for user in many[:3]:
        assert len(set(await versions([user], many[:6]))) == 1
    for session in many[:3]:
        assert len(set(await versions([""] * 4, [session]))) == 1


@pytest.mark.parametrize(
    ("alias", "targets", "reason"),
    [
        ("prod", (Target(3),), "no version 3"),
        ("prod", (Target(1), Target(1)), "twice"),
        *((name, ONE, "letter first") for name in ("", "3", "Prod", "a/b", "a@b", "prod\n")),
        ("x" * 33, ONE, "letter first"),
    ],
)
async def test_what_no_alias_can_be(
    two: asyncpg.Pool, models: Models, alias: str, targets: tuple[Target, ...], reason: str
) -> None:
    with pytest.raises(InvalidRequest, match=reason):
        await put_alias(two, ACME, models, "hr", alias, targets)


async def test_they_are_their_tenants_and_go_with_their_agent(
    two: asyncpg.Pool, models: Models
) -> None:
    await put_alias(two, ACME, models, "hr", "prod", ONE)
    await save_agent(two, RIVAL, AgentDefinition("hr", "", "default", ()))
    limited = replace(ACME, allowed=Allowed(agents=frozenset({"it", "hr@prod"})))
    for caller in (RIVAL, limited):
        assert await list_aliases(two, caller) == []
        for work in (
            find_agent(two, caller, "hr@prod"),
            get_alias(two, caller, "hr", "prod"),
            roll_back_alias(two, caller, models, "hr", "prod"),
            delete_alias(two, caller, "hr", "prod"),
        ):
            with pytest.raises(NotFound):
                await work
    await delete_agent(two, ACME, "hr", if_match=None)
    assert await list_aliases(two, ACME) == []


async def test_who_may_not_use_a_version_points_at_none(two: asyncpg.Pool, models: Models) -> None:
    limited = replace(ACME, allowed=Allowed(models=frozenset()))
    with pytest.raises(InvalidRequest, match="no `default` for this client"):
        await put_alias(two, limited, models, "hr", "prod", ONE)
