"""The demo's data: made once, found again, brought up to date."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import asyncpg
import pytest
from knowledge import job_worker

from auth.clients import find_key
from auth.secrets import SecretBox
from config.errors import ConfigError
from config.postgres import migrate, open_pool
from config.scope import TenantScope
from config.settings import Settings
from gateway import demo
from gateway.agents.changes import save_agent
from gateway.agents.definition import AgentDefinition
from gateway.agents.registry import find_agent
from gateway.credentials import Credentials
from gateway.supervisor import PACKAGES
from rag import get_file, list_store_files
from rag.testing import InMemoryEmbedder


@pytest.fixture
async def database(empty_database: str) -> AsyncIterator[str]:
    """A database whose documents are read."""
    await migrate(empty_database, PACKAGES)
    async with (
        await open_pool(empty_database, size=1) as pool,
        job_worker(pool, InMemoryEmbedder()),
    ):
        yield empty_database


@pytest.fixture
async def pool(database: str) -> AsyncIterator[asyncpg.Pool]:
    async with await open_pool(database, size=2) as opened:
        yield opened


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "data").mkdir()
    return Settings(data_dir=tmp_path / "data")


@pytest.fixture
def handbook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "handbook"
    folder.mkdir()
    (folder / "leave.md").write_text("# Leave\n\nFifteen days.\n")
    (folder / "hours.txt").write_text("From nine to six.\n")
    (folder / "build.py").write_text("not a document")
    monkeypatch.setattr(demo, "HANDBOOK", folder)
    return folder


async def caller(database: str, settings: Settings, credentials: Credentials) -> TenantScope:
    box = SecretBox.load(settings.auth, settings.data_dir)
    async with await open_pool(database, size=1, role="naru_auth") as identity:
        holder = await find_key(identity, box, credentials.api_key)
    assert holder is not None
    return holder.scope


async def names(pool: asyncpg.Pool, scope: TenantScope, store: str) -> dict[str, str]:
    """File name -> id of a store's files, all of which are read."""
    found = await list_store_files(pool, scope, store)
    assert {file.status for file in found} == {"completed"}
    return {(await get_file(pool, scope, file.id)).filename: file.id for file in found}


async def test_the_first_start_makes_everything(
    database: str, pool: asyncpg.Pool, settings: Settings, handbook: Path
) -> None:
    made = await demo.provision(settings, database)
    assert Credentials.read(settings.data_dir) == made
    scope = await caller(database, settings, made)
    assert (scope.tenant, scope.client) == ("demo", made.client_id)
    assert scope.scopes == {"inference", "agents", "agents:write", "knowledge", "knowledge:write"}
    assert set(await names(pool, scope, made.store)) == {"leave.md", "hours.txt"}
    agent = await find_agent(pool, scope, "hr-assistant")
    assert agent.definition.vector_stores == (made.store,)
    assert agent.definition.model == "default"


async def test_the_second_start_changes_nothing(
    database: str, pool: asyncpg.Pool, settings: Settings, handbook: Path
) -> None:
    first = await demo.provision(settings, database)
    scope = await caller(database, settings, first)
    files = await names(pool, scope, first.store)
    mine = AgentDefinition("hr-assistant", "Be brief.", "default", (first.store,))
    await save_agent(pool, scope, mine)
    assert await demo.provision(settings, database) == first
    assert await names(pool, scope, first.store) == files
    assert (await find_agent(pool, scope, "hr-assistant")).definition == mine


async def test_the_agent_follows_the_model_until_somebody_changes_it(
    database: str, pool: asyncpg.Pool, settings: Settings, handbook: Path
) -> None:
    made = await demo.provision(settings, database, "tiny")
    scope = await caller(database, settings, made)
    for model, expected in (("other", "other"), (None, "default")):
        await demo.provision(settings, database, model)
        found = (await find_agent(pool, scope, "hr-assistant")).definition
        assert found.model == expected
    mine = AgentDefinition("hr-assistant", "Be brief.", "default", (made.store,))
    await save_agent(pool, scope, mine)
    await demo.provision(settings, database, "tiny")
    assert (await find_agent(pool, scope, "hr-assistant")).definition == mine


async def test_only_a_changed_document_is_read_again(
    database: str, pool: asyncpg.Pool, settings: Settings, handbook: Path
) -> None:
    made = await demo.provision(settings, database)
    scope = await caller(database, settings, made)
    before = await names(pool, scope, made.store)
    (handbook / "leave.md").write_text("# Leave\n\nSixteen days.\n")
    (handbook / "new.html").write_text("<h1>New</h1><p>Page.</p>")
    await demo.provision(settings, database)
    after = await names(pool, scope, made.store)
    assert set(after) == {"leave.md", "hours.txt", "new.html"}
    assert after["hours.txt"] == before["hours.txt"]
    assert after["leave.md"] != before["leave.md"]


async def test_another_port_changes_the_url_alone(
    database: str, settings: Settings, handbook: Path
) -> None:
    first = await demo.provision(settings, database)
    moved = settings.model_copy(
        update={"server": settings.server.model_copy(update={"port": 9000})}
    )
    second = await demo.provision(moved, database)
    assert second.url == "http://127.0.0.1:9000"
    assert (second.client_secret, second.api_key) == (first.client_secret, first.api_key)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda known: Credentials(**{**known, "api_key": "sk-naru-" + "x" * 43}),
        lambda known: Credentials(**{**known, "store": "vs_gone"}),
    ],
    ids=["key", "store"],
)
async def test_credentials_of_another_database_are_made_anew_and_said(
    database: str,
    pool: asyncpg.Pool,
    settings: Settings,
    handbook: Path,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[dict[str, str]], Credentials],
) -> None:
    first = await demo.provision(settings, database)
    known = {name: getattr(first, name) for name in Credentials.__dataclass_fields__}
    spoil(known).write(settings.data_dir)
    second = await demo.provision(settings, database)
    assert second.client_id != first.client_id
    assert "demo.env does not fit this database" in capsys.readouterr().err
    scope = await caller(database, settings, second)
    agent = await find_agent(pool, scope, "hr-assistant")
    assert agent.definition.vector_stores == (second.store,)
    assert set(await names(pool, scope, second.store)) == {"leave.md", "hours.txt"}


async def test_an_unreadable_document_is_named_and_the_others_stay(
    database: str,
    pool: asyncpg.Pool,
    settings: Settings,
    handbook: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (handbook / "broken.pdf").write_bytes(b"%PDF-1.7 and no more")
    made = await demo.provision(settings, database)
    assert "could not read broken.pdf: " in capsys.readouterr().err
    scope = await caller(database, settings, made)
    files = await list_store_files(pool, scope, made.store)
    assert sorted(file.status for file in files) == ["completed", "completed", "failed"]


async def test_a_missing_handbook_is_told(
    database: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "HANDBOOK", Path("/nowhere/handbook"))
    with pytest.raises(ConfigError, match="needs the repository's handbook"):
        await demo.provision(settings, database)
