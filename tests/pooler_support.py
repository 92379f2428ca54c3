"""A real PgBouncer in transaction mode before a database, as docs/scaling.md sets it up."""

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from config import embedded
from config.embedded import Command

_OLDEST = (1, 21)
"""The first version that keeps prepared statements in transaction mode."""


def is_missing() -> bool:
    """Tell whether there is no PgBouncer that is new enough."""
    program = shutil.which("pgbouncer")
    if program is None:
        return True
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"PgBouncer (\d+)\.(\d+)", said.stdout)
    return found is None or (int(found[1]), int(found[2])) < _OLDEST


needs_pooler = pytest.mark.skipif(is_missing(), reason="PgBouncer 1.21 or newer is not installed")


@contextmanager
def run_pooler(database: str, folder: Path, *, size: int, role: str = "") -> Iterator[str]:
    """Run one with `size` connections for each role; return its `pgbouncer://` URL.

    With `role`, every connection works as that one, as a wrong configuration would have it.
    """
    parts = urlsplit(database)
    where = f"host={parse_qs(parts.query)['host'][0]} dbname={parts.path.strip('/')}"
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    databases = "".join(
        f"{name} = {where} user={parts.username} "
        f"connect_query='SET ROLE {role or name}; SET jit = off'\n"
        for name in ("naru_app", "naru_auth", "naru_jobs")
    )
    file = folder / "pgbouncer.ini"
    file.write_text(
        f"[databases]\n{databases}[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n"
        f"unix_socket_dir =\nauth_type = any\npool_mode = transaction\n"
        f"default_pool_size = {size}\nmax_client_conn = 500\nmax_prepared_statements = 200\n"
    )
    program = shutil.which("pgbouncer") or ""
    child = embedded.spawn(Command("pgbouncer", [program, str(file)], user="nobody"))
    try:
        _wait_for(port)
        yield f"pgbouncer://anybody@127.0.0.1:{port}"
    finally:
        assert child.stdin is not None
        child.stdin.close()
        child.wait(30)


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < deadline, "PgBouncer did not start"
            time.sleep(0.05)
        else:
            return
