"""Real PostgreSQL + pgvector and Redis for the whole run, a fresh database where asked for."""

import shutil
import subprocess
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from engine_support import engine, mortal_engine, tiny_model

from config import embedded

__all__ = ["engine", "mortal_engine", "tiny_model"]


def _end(child: subprocess.Popen[bytes]) -> None:
    assert child.stdin is not None
    child.stdin.close()
    child.wait(30)


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("naru")
    yield path
    shutil.rmtree(embedded.runtime_path(path), ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server(data_dir: Path) -> Iterator[str]:
    """The owner's URL of a running server, without a database's migrations."""
    runtime = embedded.runtime_dir(data_dir)
    child = embedded.spawn(embedded.postgres_command(data_dir, runtime))
    status = data_dir / "postgres" / "postmaster.pid"
    deadline = time.monotonic() + 30
    # As pg_ctl does: the socket is there before connections are accepted.
    while not (status.exists() and status.read_text().rstrip().endswith("ready")):
        assert time.monotonic() < deadline, "PostgreSQL did not start"
        time.sleep(0.05)
    yield embedded.postgres_url(runtime)
    _end(child)


@pytest.fixture(scope="session")
def redis_url(data_dir: Path) -> Iterator[str]:
    runtime = embedded.runtime_dir(data_dir)
    child = embedded.spawn(embedded.redis_command(data_dir, runtime))
    while not (runtime / "redis.sock").exists():
        assert child.poll() is None, "Redis did not start"
        time.sleep(0.05)
    yield embedded.redis_url(runtime)
    _end(child)


@pytest.fixture
async def empty_database(postgres_server: str) -> AsyncIterator[str]:
    """The owner's URL of a new database, dropped afterwards."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    owner = await asyncpg.connect(postgres_server)
    await owner.execute(f'CREATE DATABASE "{name}"')
    yield postgres_server.replace("/naru?", f"/{name}?")
    await owner.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    await owner.close()
