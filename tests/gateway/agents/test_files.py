"""Agents as files: a good one is taken, a bad one changes nothing, a lost one is withdrawn."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from support import scope_of

import rag
from config.agents import AgentSettings
from config.postgres import open_pool
from gateway.agents.address import Target
from gateway.agents.aliases import put_alias
from gateway.agents.changes import (
    change_agent,
    create_agent,
    delete_agent,
    roll_back,
    save_agent,
)
from gateway.agents.definition import AgentDefinition
from gateway.agents.files import AgentFiles, Refused, parse, watch_files
from gateway.agents.registry import find_agent, list_agents, list_versions
from gateway.errors import Conflict, NotFound
from gateway.generation.models import Models, is_configured

ACME, RIVAL = scope_of("acme", "app"), scope_of("rival", "stranger")
HR = """\
tenant: acme
name: hr
model: default
vector_stores: []
instructions: |
  Be brief with {{team}}.
variables:
  team: {type: string, default: everybody}
"""


def known(name: str) -> bool:
    return name == "default"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "hr.yaml").write_text(HR)
    return tmp_path


@pytest.fixture
async def jobs(owner: asyncpg.Connection, empty_database: str) -> AsyncIterator[asyncpg.Pool]:
    """The database as the job worker opens it."""
    async with await open_pool(empty_database, size=4, role="naru_jobs") as opened:
        yield opened


async def rounds(files: AgentFiles) -> None:
    """As many looks as a change needs."""
    await files.look()
    await files.look()


async def numbers(pool: asyncpg.Pool, name: str = "hr") -> list[int]:
    found = await list_versions(pool, ACME, name, before=1000, limit=100)
    return [agent.version for agent in found]


async def test_a_file_is_an_agent_and_its_changes_are_versions(
    jobs: asyncpg.Pool, folder: Path
) -> None:
    files = AgentFiles(jobs, folder, known)
    await files.look()
    agent = await find_agent(jobs, ACME, "hr")
    assert (agent.version, agent.source, agent.created_by) == (1, "file", "")
    assert agent.definition.instructions == "Be brief with {{team}}.\n"
    await rounds(files)
    assert await numbers(jobs) == [1]
    (folder / "hr.yaml").write_text(HR + "top_k: 9\n")
    await files.look()
    assert await numbers(jobs) == [1], "it may be half written"
    await files.look()
    assert await numbers(jobs) == [2, 1]
    assert (await find_agent(jobs, ACME, "hr")).definition.top_k == 9
    # Laid out anew it says the same.
    (folder / "hr.yaml").write_text("# Ours\n" + HR + "top_k:   9\n")
    await rounds(files)
    assert await numbers(jobs) == [2, 1]
    with pytest.raises(NotFound):
        await find_agent(jobs, RIVAL, "hr")


async def test_many_processes_make_one_version(jobs: asyncpg.Pool, folder: Path) -> None:
    workers = [AgentFiles(jobs, folder, known) for _ in range(4)]
    await asyncio.gather(*(worker.look() for worker in workers))
    assert await numbers(jobs) == [1]
    (folder / "hr.yaml").write_text(HR + "top_k: 9\n")
    for _ in range(2):
        await asyncio.gather(*(worker.look() for worker in workers))
    assert await numbers(jobs) == [2, 1]
    await AgentFiles(jobs, folder, known).look()
    assert await numbers(jobs) == [2, 1]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("tenant: [", "not valid YAML"),
        ("", "name whose agent it is"),
        ("- a", "name whose agent it is"),
        (HR.replace("tenant: acme", "tenant: 3"), "name whose agent it is"),
        (HR.replace("tenant: acme", "tenant: nobody"), "there is no `nobody`"),
        (HR.replace("name: hr", "name: Hr"), "name"),
        (HR + "colour: red\n", "colour"),
        (HR + "top_k: 99\n", "top_k"),
        (HR + "answer: {threshold: .nan}\n", "answer.threshold: |threshold"),
        (HR.replace("model: default", "model: gpt-none"), "the settings have no `gpt-none`"),
        (HR.replace("vector_stores: []", "vector_stores: [vs_gone]"), "`vs_gone`"),
        (HR.replace("vector_stores: []", "vector_stores: [Handbook]"), "called `Handbook`"),
        (HR.replace("name: hr", "name: default"), "`default` is a model"),
        (HR.replace("{{team}}", "{{teem}}"), "teem"),
    ],
)
async def test_a_bad_file_changes_nothing_and_says_why(
    jobs: asyncpg.Pool, folder: Path, caplog: pytest.LogCaptureFixture, bad: str, reason: str
) -> None:
    files = AgentFiles(jobs, folder, known)
    await files.look()
    before = await find_agent(jobs, ACME, "hr")
    (folder / "hr.yaml").write_text(bad)
    (folder / "it.yaml").write_text(HR.replace("name: hr", "name: it"))
    with caplog.at_level(logging.WARNING, "gateway.agents.files"):
        await rounds(files)
        await rounds(files)
    assert await find_agent(jobs, ACME, "hr") == before
    assert (await find_agent(jobs, ACME, "it")).version == 1, "the others are taken"
    files_logger = "gateway.agents.files"
    told = [record.getMessage() for record in caplog.records if record.name == files_logger]
    assert len(told) == 1, "once"
    assert told[0].startswith("agent file hr.yaml is not taken: ")
    assert any(part in told[0] for part in reason.split("|"))
    (folder / "hr.yaml").write_text(HR + "top_k: 9\n")
    await rounds(files)
    assert await numbers(jobs) == [2, 1]


async def test_two_files_of_one_agent_are_neither(
    jobs: asyncpg.Pool, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "also.yml").write_text(HR + "top_k: 9\n")
    await AgentFiles(jobs, folder, known).look()
    assert await list_agents(jobs, ACME) == []
    assert "another file names `hr` as well" in caplog.text


async def test_what_waits_for_its_store_is_taken_when_that_is_there(
    jobs: asyncpg.Pool, folder: Path
) -> None:
    (folder / "hr.yaml").write_text(HR.replace("vector_stores: []", "vector_stores: [Handbook]"))
    files = AgentFiles(jobs, folder, known)
    await files.look()
    assert await list_agents(jobs, ACME) == []
    await rag.create_store(jobs, RIVAL, name="Handbook")
    await files.look()
    assert await list_agents(jobs, ACME) == []
    store = (await rag.create_store(jobs, ACME, name="Handbook")).id
    await files.look()
    assert (await find_agent(jobs, ACME, "hr")).definition.vector_stores == (store,)


async def test_over_http_it_can_t_be_changed(
    jobs: asyncpg.Pool, folder: Path, models: Models
) -> None:
    await AgentFiles(jobs, folder, known).look()
    for work in (
        change_agent(jobs, ACME, models, "hr", {"top_k": 9}, if_match=None),
        roll_back(jobs, ACME, models, "hr", 1, if_match=None),
        delete_agent(jobs, ACME, "hr", if_match=None),
    ):
        with pytest.raises(Conflict, match="comes from a file"):
            await work
    await put_alias(jobs, ACME, models, "hr", "prod", (Target(1),))
    assert (await find_agent(jobs, ACME, "hr@prod")).version == 1


async def test_without_its_file_it_is_withdrawn_until_that_comes_back(
    jobs: asyncpg.Pool, folder: Path, models: Models
) -> None:
    await create_agent(jobs, ACME, models, AgentDefinition("mine", "", "default", ()))
    files = AgentFiles(jobs, folder, known)
    await files.look()
    await put_alias(jobs, ACME, models, "hr", "prod", (Target(1),))
    (folder / "hr.yaml").unlink()
    await files.look()
    for address in ("hr", "hr@1", "hr@prod"):
        with pytest.raises(NotFound):
            await find_agent(jobs, ACME, address)
    assert [agent.name for agent in await list_agents(jobs, ACME)] == ["mine"]
    (folder / "hr.yaml").write_text(HR)
    await rounds(files)
    assert (await find_agent(jobs, ACME, "hr@prod")).version == 1
    # A process that starts finds out too.
    (folder / "hr.yaml").unlink()
    await AgentFiles(jobs, folder, known).look()
    assert [agent.name for agent in await list_agents(jobs, ACME)] == ["mine"]
    made = await create_agent(jobs, ACME, models, AgentDefinition("hr", "", "default", ()))
    assert (made.version, made.source) == (2, "api")


async def test_a_folder_that_is_gone_or_broken_withdraws_nothing(
    jobs: asyncpg.Pool, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = AgentFiles(jobs, folder, known)
    await files.look()
    (folder / "hr.yaml").rename(folder / "other")
    (folder / "broken.yaml").write_text("tenant: [")
    await rounds(files)
    assert (await find_agent(jobs, ACME, "hr")).version == 1
    gone = AgentFiles(jobs, folder / "nowhere", known)
    await rounds(gone)
    assert (await find_agent(jobs, ACME, "hr")).version == 1
    assert "nowhere is not taken: it can't be read: No such file" in caplog.text


async def test_a_file_takes_over_what_was_made_over_http(jobs: asyncpg.Pool, folder: Path) -> None:
    await save_agent(jobs, ACME, AgentDefinition("hr", "Mine.", "default", ()))
    await AgentFiles(jobs, folder, known).look()
    agent = await find_agent(jobs, ACME, "hr")
    assert (agent.version, agent.source) == (2, "file")
    versions = await list_versions(jobs, ACME, "hr", before=1000, limit=9)
    assert [each.source for each in versions] == ["file", "api"]


async def test_the_watch_looks_again_and_again(jobs: asyncpg.Pool, folder: Path) -> None:
    settings = AgentSettings(folder=folder, poll_s=0.01)
    watching = asyncio.create_task(watch_files(jobs, settings, known))
    try:
        async with asyncio.timeout(60):
            while not await list_agents(jobs, ACME):
                await asyncio.sleep(0.01)
            (folder / "hr.yaml").write_text(HR + "top_k: 9\n")
            while len(await numbers(jobs)) < 2:
                await asyncio.sleep(0.01)
    finally:
        watching.cancel()
    await watch_files(jobs, AgentSettings(), known)


def test_which_models_there_are() -> None:
    parts = {"smart": 1}, {"fake": 1}, {"tiny": 1}
    names = ("default", "smart", "tiny", "fake/x", "fake", "fake/", "other/x", "")
    assert [name for name in names if is_configured(name, *parts)] == [
        *("default", "smart", "tiny", "fake/x")
    ]


def test_what_yaml_can_say_and_json_can_t_is_refused() -> None:
    for text in ("tenant: acme\n? [a, b]\n: c\n", HR + "description: !!binary aGk=\n", "x" * 2**20):
        with pytest.raises(Refused):
            parse(text.encode())
    with pytest.raises(Refused, match="NUL"):
        parse((HR + 'description: "a\\0b"\n').encode())
