"""Does it answer? Asked by the supervisor while it starts and by `naru doctor`."""

import asyncio
import http
import http.client
import json
import time
import urllib.parse
from collections.abc import Awaitable, Callable

import asyncpg
import redis.asyncio
import redis.exceptions

from config.errors import ConfigError
from config.settings import ServerSettings

_START_S = 30.0
_TRY_S = 5.0
_PAUSE_S = 0.1
_NOT_YET = (
    OSError,
    asyncpg.CannotConnectNowError,
    asyncpg.PostgresConnectionError,
    asyncpg.TooManyConnectionsError,
    redis.exceptions.ConnectionError,
    redis.exceptions.TimeoutError,
)
FAILURES = (*_NOT_YET, asyncpg.PostgresError, asyncpg.InterfaceError, redis.exceptions.RedisError)
"""What asking a store can raise."""


async def postgres_version(url: str) -> str:
    """Return the server's version and pgvector's, such as `18.1, pgvector 0.8.4`."""
    connection = await asyncpg.connect(url, timeout=_TRY_S)
    try:
        server = await connection.fetchval("SHOW server_version", timeout=_TRY_S)
        vector = await connection.fetchval(
            "SELECT coalesce(installed_version, default_version) "
            "FROM pg_available_extensions WHERE name = 'vector'",
            timeout=_TRY_S,
        )
    finally:
        await connection.close(timeout=_TRY_S)
    return f"{server}, pgvector {vector or 'missing'}"


async def clock_offset_s(url: str) -> float:
    """Return by how much this machine's clock is ahead of PostgreSQL's."""
    connection = await asyncpg.connect(url, timeout=_TRY_S)
    try:
        before = time.time()
        theirs = await connection.fetchval(
            "SELECT extract(epoch FROM clock_timestamp())::float8", timeout=_TRY_S
        )
        return (before + time.time()) / 2 - float(theirs)
    finally:
        await connection.close(timeout=_TRY_S)


async def redis_version(url: str) -> str:
    """Return the server's version."""
    client = redis.asyncio.from_url(url, socket_timeout=_TRY_S, socket_connect_timeout=_TRY_S)
    async with client:
        information = await client.info("server")
    return str(information["redis_version"])


async def wait_for_postgres(url: str) -> str:
    """Return PostgreSQL's version once it answers.

    Raises:
        ConfigError: It does not, or it has no pgvector.
    """
    version = await _wait_for("PostgreSQL", url, postgres_version)
    if version.endswith("missing"):
        raise ConfigError(f"PostgreSQL at {place(url)} has no pgvector: install pgvector >= 0.8.4")
    return version


async def wait_for_redis(url: str) -> str:
    """Return Redis' version once it answers.

    Raises:
        ConfigError: It does not.
    """
    return await _wait_for("Redis", url, redis_version)


async def wait_until_ready(server: ServerSettings, limit_s: float) -> list[str]:
    """Return what the web workers miss, once they say that they can serve.

    Raises:
        ConfigError: They don't within `limit_s`.
    """
    deadline = asyncio.get_running_loop().time() + limit_s
    while (degraded := await asyncio.to_thread(ask_ready, server)) is None:
        if asyncio.get_running_loop().time() > deadline:
            raise ConfigError(f"the service is not ready after {limit_s:g} s: see the lines above")
        await asyncio.sleep(_PAUSE_S)
    return degraded


def ask_ready(server: ServerSettings) -> list[str] | None:
    """Return what a web worker misses, or None when it can't serve or gives no answer. Blocks."""
    address = urllib.parse.urlsplit(server.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=_TRY_S)
    try:
        connection.request("GET", "/health/ready")
        answer = connection.getresponse()
        body = json.load(answer)
    except (OSError, ValueError, http.client.HTTPException):
        return None
    else:
        return list(body["degraded"]) if answer.status == http.HTTPStatus.OK else None
    finally:
        connection.close()


async def _wait_for(name: str, url: str, ask: Callable[[str], Awaitable[str]]) -> str:
    deadline = asyncio.get_running_loop().time() + _START_S
    while True:
        try:
            return await ask(url)
        except FAILURES as error:
            late = asyncio.get_running_loop().time() > deadline
            if late or not isinstance(error, _NOT_YET):
                reason = str(error).partition("\n")[0] or type(error).__name__
                raise ConfigError(f"{name} at {place(url)} does not answer: {reason}") from None
        await asyncio.sleep(_PAUSE_S)


def place(url: str) -> str:
    """Return where a URL leads, without its password."""
    parts = urllib.parse.urlsplit(url)
    return parts.netloc.rpartition("@")[2] or parts.path or parts.query
