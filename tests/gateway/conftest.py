"""The web application on a real socket, over real stores and the real embedding worker."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import httpx
import pytest
import uvicorn
from gateway_support import AWAY, Service, client_of
from issuer_support import Issuer, play_issuer
from knowledge import job_worker, until_done
from support import scope_of
from upstream_support import Upstream, play_upstream

from auth import SecretBox, create_client, create_key, create_tenant
from config.postgres import migrate, open_pool
from config.settings import Settings
from gateway.agents.changes import save_agent
from gateway.agents.definition import AgentDefinition
from gateway.app import create_app
from rag import add_file, create_file, create_store, get_store_file, open_embedders
from rag.embedding_wire import worker_socket

HANDBOOK = """# 휴가

연차 휴가는 연간 15일이다. 3년 차부터는 연차 휴가가 16일로 늘어난다.

병가는 연간 10일까지 유급으로 사용할 수 있다.

# Expenses

Travel expenses are reimbursed within 30 days after the receipts are handed in.

The office opens at eight o'clock in the morning.
"""


@pytest.fixture
async def owner(empty_database: str) -> AsyncIterator[asyncpg.Connection]:
    """A migrated database, seen past its policies: tenants `acme` and `rival`, a client each."""
    await migrate(empty_database, ["auth", "rag", "gateway"])
    opened = await asyncpg.connect(empty_database)
    for tenant, client in (("acme", "app"), ("rival", "stranger")):
        await opened.execute("INSERT INTO tenants (id, name) VALUES ($1, $1)", tenant)
        await opened.execute(
            "INSERT INTO clients (id, tenant, name, scopes, default_scopes)"
            " VALUES ($1, $2, $1, '{agents}', '{agents}')",
            *(client, tenant),
        )
    yield opened
    await opened.close()


@pytest.fixture
async def pool(owner: asyncpg.Connection, empty_database: str) -> AsyncIterator[asyncpg.Pool]:
    """That database as a web worker opens it."""
    async with await open_pool(empty_database, size=2) as opened:
        yield opened


@pytest.fixture(scope="session")
def sockets(data_dir: Path) -> Iterator[Path]:
    """The folder where the real embedding worker listens."""
    path = worker_socket(data_dir)
    argv = [sys.executable, "-m", "rag.embedding_worker", "--socket", str(path)]
    child = subprocess.Popen([*argv, "--model", "all-MiniLM-L6-v2"], stdin=subprocess.DEVNULL)
    while not path.exists():
        assert child.poll() is None, "the embedding worker did not start"
        with_patience(child)
    yield data_dir
    child.terminate()
    child.wait(20)


def with_patience(child: subprocess.Popen[bytes]) -> None:
    """Wait a moment for a child that starts."""
    try:
        child.wait(0.1)
    except subprocess.TimeoutExpired:
        return


async def _read_handbook(pool: asyncpg.Pool, settings: Settings, sockets: Path) -> str:
    """Store and index `HANDBOOK`; return the vector store's id."""

    async def parts() -> AsyncIterator[bytes]:
        yield HANDBOOK.encode()

    owner = scope_of("acme", "app")
    store = await create_store(pool, owner, name="handbook")
    file = await create_file(
        pool, owner, filename="handbook.md", purpose="assistants", parts=parts()
    )
    await add_file(pool, owner, store.id, file.id)
    embedders = open_embedders(settings.embedding, sockets)
    async with job_worker(pool, embedders.default):
        await until_done(pool, store.id)
    await embedders.close()
    assert (await get_store_file(pool, owner, store.id, file.id)).status == "completed"
    return store.id


@pytest.fixture(scope="session")
async def upstream() -> AsyncIterator[Upstream]:
    """The hosted API that provider `fake` of the service means."""
    async with play_upstream() as playing:
        yield playing


@pytest.fixture(scope="session")
async def issuer() -> AsyncIterator[Issuer]:
    """The foreign issuer whose users act as client `portal` of `acme`."""
    async with play_issuer() as playing:
        yield playing


@pytest.fixture(scope="session")
async def service(
    postgres_server: str,
    redis_url: str,
    sockets: Path,
    data_dir: Path,
    upstream: Upstream,
    issuer: Issuer,
) -> AsyncIterator[Service]:
    """Serve tenant `acme` (clients `app`, `colleague`, `limited`, `portal`), `rival` (`stranger`).

    `portal` stands for a foreign issuer that is there, `limited` for one that is away.
    """
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    await (owner := await asyncpg.connect(postgres_server)).execute("CREATE DATABASE web")
    database = postgres_server.replace("/naru?", "/web?")
    words = {"chat": ["agents"]}
    settings = Settings.model_validate(
        {
            "data_dir": data_dir,
            "database": {"url": database},
            "redis": {"url": redis_url},
            "auth": {
                "issuers": [
                    {"issuer": url, "audience": "naru", "client": client, "scopes": words}
                    for url, client in ((issuer.url, "portal"), (AWAY, "limited"))
                ]
            },
            "server": {"port": port, "max_body_bytes": 2_000_000, "max_file_bytes": 3_000_000},
            "providers": {
                "down": {"base_url": "http://127.0.0.1:9/v1"},
                "fake": {"base_url": upstream.url, "api_key": "sk-upstream"},
            },
            "sync": {
                "hosts": [{"host": "docs.example.com", "tenants": ["*"]}],
                "folders": {"handbooks": {"path": str(data_dir), "tenants": ["acme"]}},
            },
            "models": {
                "falls-back": ["down/x", "extractive"],
                "broken": ["down/y"],
                "smart": ["down/x", "fake/gpt-x"],
                "remembers": {"targets": ["fake/gpt-x"], "cache_ttl_s": 60},
            },
        }
    )
    await migrate(database, ["auth", "rag", "gateway"])
    async with (
        await open_pool(database, size=4, role="naru_jobs") as pool,
        await open_pool(database, size=2, role="naru_auth") as identity,
    ):
        box = SecretBox.load(settings.auth, data_dir)
        await create_tenant(identity, "acme", "Acme")
        await create_tenant(identity, "rival", "Rival")
        client = await create_client(identity, box, "acme", name="app", client_id="app")
        await create_client(identity, box, "acme", name="colleague", client_id="colleague")
        await create_client(identity, box, "acme", name="limited", client_id="limited")
        await create_client(identity, box, "acme", name="portal", client_id="portal")
        await create_client(identity, box, "rival", name="stranger", client_id="stranger")
        keys = {
            name: (await create_key(identity, box, name)).key
            for name in ("app", "colleague", "limited", "stranger")
        }
        reader = await create_key(identity, box, "app", scopes=["inference"])
        librarian = await create_key(identity, box, "app", scopes=["knowledge"])
        await identity.execute(
            "UPDATE clients SET allowed_agents = '{patient}', allowed_models = '{}',"
            " allowed_vector_stores = '{}' WHERE id = 'limited'"
        )
        store = await _read_handbook(pool, settings, sockets)
        for name, model in (
            ("hr", "default"),
            ("patient", "falls-back"),
            ("unlucky", "broken"),
            ("clever", "smart"),
        ):
            definition = AgentDefinition(name, "Be brief.", model, (store,))
            await save_agent(pool, scope_of("acme", "app"), definition)
    app = create_app(settings, sockets)
    server = uvicorn.Server(uvicorn.Config(app, http="httptools", ws="none", log_level="warning"))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    while not server.started:
        assert not serving.done(), "the application did not start"
        await asyncio.sleep(0.01)
    yield Service(
        url=f"http://127.0.0.1:{port}",
        database=database,
        client=client,
        key=keys["app"],
        colleague_key=keys["colleague"],
        stranger_key=keys["stranger"],
        reader_key=reader.key,
        librarian_key=librarian.key,
        limited_key=keys["limited"],
        store=store,
        app=app,
    )
    server.should_exit = True
    await serving
    await owner.execute("DROP DATABASE web WITH (FORCE)")
    await owner.close()


@pytest.fixture
async def http(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    """The client `app` of `acme`."""
    service.forget_retries()
    async with client_of(service, service.key) as client:
        yield client


@pytest.fixture
async def colleague(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    """Another client of the same tenant."""
    async with client_of(service, service.colleague_key) as client:
        yield client


@pytest.fixture
async def stranger(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    """A client of another tenant."""
    async with client_of(service, service.stranger_key) as client:
        yield client


@pytest.fixture
async def reader(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    """A key with the scope `inference` alone."""
    async with client_of(service, service.reader_key) as client:
        yield client


@pytest.fixture
async def nobody(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    """Without credentials."""
    async with client_of(service, None) as client:
        yield client
