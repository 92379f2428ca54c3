"""The database, for commands that work on it beside the service or instead of it."""

import asyncio
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from config import embedded
from config.errors import ConfigError
from config.settings import Settings
from gateway import preflight, probes
from gateway.children import open_log


@contextmanager
def open_database(settings: Settings, *, alone: bool = False) -> Iterator[str]:
    """Yield the owner's URL; the embedded PostgreSQL is started where no service runs it.

    Raises:
        ConfigError: It does not answer, or, with `alone`, a service runs on the embedded one.
    """
    if settings.database.url:
        url = settings.database.url.get_secret_value()
        asyncio.run(probes.wait_for_postgres(url))
        yield url
        return
    data_dir = preflight.open_data_dir(settings.data_dir)
    url = embedded.postgres_url(embedded.runtime_path(data_dir))
    try:
        lock = preflight.lock(data_dir)
    except ConfigError:
        if alone:
            raise
        asyncio.run(probes.wait_for_postgres(url))
        yield url
        return
    runtime = embedded.runtime_dir(data_dir)
    log = open_log(data_dir / "logs" / "postgres.log")
    server = embedded.spawn(embedded.postgres_command(data_dir, runtime), log)
    os.close(log)
    try:
        asyncio.run(probes.wait_for_postgres(url))
        yield url
    finally:
        if server.stdin:
            server.stdin.close()
        server.wait()
        shutil.rmtree(runtime, ignore_errors=True)
        os.close(lock)
