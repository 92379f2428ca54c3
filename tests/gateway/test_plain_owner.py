"""A database whose owner is no superuser and makes no roles, as others administer it."""

import uuid
from collections.abc import AsyncIterator

import asyncpg
import pytest
from knowledge import fill
from support import scope_of
from turns_support import store_turn

import auth
import rag
from config.postgres import migrate, open_pool
from gateway.agents.changes import save_agent
from gateway.agents.definition import AgentDefinition
from gateway.agents.registry import find_agent
from gateway.openai.chat import Usage
from gateway.sessions.store import Sessions, Turn
from rag.testing import InMemoryEmbedder

PACKAGES = ("auth", "rag", "gateway")


@pytest.fixture
async def plain(postgres_server: str) -> AsyncIterator[str]:
    """The URL of a plain owner, who was lent our roles; the extension is there."""
    name = f"plain_{uuid.uuid4().hex[:12]}"
    superuser = await asyncpg.connect(postgres_server)
    await superuser.execute(f"CREATE ROLE {name} LOGIN")
    await superuser.execute(f"CREATE DATABASE {name} OWNER {name}")
    url = postgres_server.replace("/naru?", f"/{name}?")
    inside = await asyncpg.connect(url)
    await inside.execute("CREATE EXTENSION vector")
    await inside.close()
    await migrate(postgres_server, ())  # the server's roles are there
    await superuser.execute(f"GRANT naru_app, naru_auth, naru_jobs TO {name}")
    yield url.replace("//naru@", f"//{name}@")
    await superuser.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await superuser.execute(f"DROP ROLE {name}")
    await superuser.close()


async def test_a_plain_owner_prepares_the_database_and_the_service_works_on_it(
    plain: str,
) -> None:
    box = auth.SecretBox("a secret of at least 32 characters")
    assert len(await migrate(plain, PACKAGES)) >= 6
    assert await migrate(plain, PACKAGES) == []
    async with await open_pool(plain, size=2, role="naru_auth") as identity:
        await auth.create_tenant(identity, "acme", "Acme")
        await auth.create_client(identity, box, "acme", name="app", client_id="app")
    caller = scope_of("acme", "app")
    turn = Turn("msg", "hr", "?", "!", "extractive", [], Usage(1, 1, 2), complete=True)
    async with await open_pool(plain, size=4, role="naru_app") as pool:
        store = (await rag.create_store(pool, caller, name="handbook")).id
        await fill(pool, InMemoryEmbedder(), store, {"a.md": "annual leave"}, tenant="acme")
        await save_agent(pool, caller, AgentDefinition("hr", "", "default", (store,)))
        await store_turn(pool, caller, "mine", turn)
        assert (await find_agent(pool, caller, "hr")).definition.vector_stores == (store,)
        assert len(await Sessions(pool).messages(caller, "mine")) == 2
        # What is deleted along passes the policies that the owner obeys as well.
        await Sessions(pool).delete(caller, "mine")
        await rag.delete_store(pool, caller, store)
    owner = await asyncpg.connect(plain)
    assert await owner.fetchval("SELECT count(*) FROM clients") == 1
    await owner.execute("SELECT set_config('naru.tenant', 'acme', false)")
    for table in ("messages", "store_files", "chunks"):
        assert await owner.fetchval(f"SELECT count(*) FROM {table}") == 0, table
    await owner.close()
