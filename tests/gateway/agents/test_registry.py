"""Agents are their tenant's, and of these only the allowed ones are there."""

from dataclasses import replace

import asyncpg
import pytest
from support import scope_of

from config.scope import Allowed
from gateway.agents.changes import save_agent
from gateway.agents.definition import AgentDefinition
from gateway.agents.registry import find_agent, list_agents
from gateway.errors import NotFound

ACME, RIVAL = scope_of("acme", "app"), scope_of("rival", "stranger")


def limited_to(*agents: str) -> object:
    return replace(ACME, allowed=Allowed(agents=frozenset(agents)))


@pytest.fixture
async def two(pool: asyncpg.Pool) -> asyncpg.Pool:
    """`hr` and `it` of `acme`."""
    for name in ("hr", "it"):
        await save_agent(pool, ACME, AgentDefinition(name, "", "default", ()))
    return pool


async def test_an_agent_is_its_tenants(two: asyncpg.Pool) -> None:
    await save_agent(two, RIVAL, AgentDefinition("hr", "theirs", "default", ()))
    assert (await find_agent(two, ACME, "hr")).definition.instructions == ""
    assert [agent.definition.instructions for agent in await list_agents(two, RIVAL)] == ["theirs"]
    with pytest.raises(NotFound):
        await find_agent(two, RIVAL, "it")


@pytest.mark.parametrize(
    ("caller", "names"),
    [
        (ACME, ["hr", "it"]),
        (limited_to("it", "gone"), ["it"]),
        (limited_to("HR"), []),
        (limited_to(), []),
    ],
)
async def test_only_the_allowed_ones_are_there(
    two: asyncpg.Pool, caller: object, names: list[str]
) -> None:
    assert [agent.definition.name for agent in await list_agents(two, caller)] == names
    for name in ("hr", "it", "gone"):
        if name in names:
            assert (await find_agent(two, caller, name)).definition.name == name
            continue
        with pytest.raises(NotFound) as missing:
            await find_agent(two, caller, name)
        assert str(missing.value) == f"no agent `{name}` here: `GET /v1/agents` lists them"
