"""What is refused before anything is started, and with which words."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import free_port

from config.errors import ConfigError
from config.settings import ServerSettings
from gateway import preflight


@pytest.fixture
def busy() -> Iterator[ServerSettings]:
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield ServerSettings(port=other.getsockname()[1])


def test_a_busy_port_is_told_with_another_one(busy: ServerSettings) -> None:
    expected = f"127.0.0.1:{busy.port} is in use .* `PORT={busy.port + 1} make run`"
    with pytest.raises(ConfigError, match=expected):
        preflight.bind(busy)


def test_a_port_taken_between_bind_and_listen_is_told() -> None:
    server = ServerSettings(port=free_port())
    with preflight.bind(server) as first, preflight.bind(server) as second:
        preflight.listen(first, server)
        with pytest.raises(ConfigError, match="in use by another program"):
            preflight.listen(second, server)


def test_a_bound_socket_refuses_until_it_listens() -> None:
    server = ServerSettings(port=free_port())
    with preflight.bind(server) as listener:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port), timeout=5)
        preflight.listen(listener, server)
        socket.create_connection(("127.0.0.1", server.port), timeout=5).close()


def test_a_foreign_address_is_told() -> None:
    with pytest.raises(ConfigError, match=r"can't listen on 192\.0\.2\.1:8080: .*set HOST"):
        preflight.bind(ServerSettings(host="192.0.2.1"))


def test_an_unknown_host_is_told() -> None:
    with pytest.raises(ConfigError, match=r"can't resolve HOST no-such-host\.invalid"):
        preflight.bind(ServerSettings(host="no-such-host.invalid"))


def test_a_data_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"can't write to the data folder .*NARU__DATA_DIR"):
        preflight.open_data_dir(tmp_path / "file" / "data")


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_data_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigError, match="can't write to the data folder"):
        preflight.lock(tmp_path)


def test_the_data_folder_is_private_and_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = preflight.open_data_dir(Path("a/b"))
    assert made == tmp_path / "a" / "b"
    assert made.stat().st_mode & 0o777 == 0o700


def test_only_one_supervisor_has_a_data_folder(tmp_path: Path) -> None:
    held = preflight.lock(tmp_path)
    with pytest.raises(ConfigError, match="another naru is running"):
        preflight.lock(tmp_path)
    os.close(held)
    os.close(preflight.lock(tmp_path))


async def test_a_child_that_outlives_its_supervisor_holds_the_folder(tmp_path: Path) -> None:
    held = await preflight.lock_for_children(tmp_path, 0)
    orphan = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "input()"), stdin=subprocess.PIPE, pass_fds=[held]
    )
    os.close(held)
    with pytest.raises(ConfigError, match="processes of an earlier naru"):
        await preflight.lock_for_children(tmp_path, 0.2)
    orphan.kill()
    os.close(await preflight.lock_for_children(tmp_path, 10))
    await orphan.communicate()
