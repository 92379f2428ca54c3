"""Administration, done directly in the service's database."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar, Unpack

import asyncpg
import redis.asyncio

import auth
from auth.admin import api_keys, client_secrets, clients, signing_keys, tenants
from auth.admin.desk import SHELL, Desk
from auth.profile import Options
from config import embedded
from config.errors import ConfigError
from config.load import load_settings
from config.postgres import open_pool
from config.scope import TenantScope
from config.settings import Settings
from gateway.credentials import find_credentials
from gateway.govern.audit import SYSTEM, AuditEvent, append

__all__ = [
    "administer",
    "api_keys",
    "client_secrets",
    "clients",
    "create_client",
    "demo_client",
    "read_jwks",
    "signing_keys",
    "tenants",
]

_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")
_LONGEST = 128
_READING = ("list_", "get_")
_ACTOR = {"client": "naru (command line)"}


def administer(
    work: Callable[Concatenate[Desk, TenantScope, _Given], Awaitable[_Result]],
    *arguments: _Given.args,
    **options: _Given.kwargs,
) -> _Result:
    """Do something at the desk of the service's database and return what it gave.

    Raises:
        ConfigError: The database does not answer, or it can't be done.
    """

    async def do() -> _Result:
        async with (
            _open_desk(load_settings()) as desk,
            _audited(desk, work.__name__, *arguments, **options),
        ):
            return await work(desk, SHELL, *arguments, **options)

    return asyncio.run(do())


async def create_client(
    desk: Desk,
    caller: TenantScope,
    /,
    tenant: str,
    *,
    name: str,
    client_id: str | None = None,
    **options: Unpack[Options],
) -> clients.MadeClient:
    """Make a client, and its tenant when there is none of that id."""
    await auth.create_tenant(desk.db, tenant, tenant)
    return await clients.create_client(
        desk, caller, tenant=tenant, name=name, client_id=client_id, **options
    )


def demo_client() -> str:
    """Return the id of the client in the environment or in `demo.env`.

    Raises:
        ConfigError: There is neither.
    """
    return find_credentials(load_settings().data_dir, os.environ).client_id


def read_jwks(path: Path) -> dict[str, Any]:
    """Read a JWK Set.

    Raises:
        ConfigError: The file can't be read, or holds no JSON object.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"can't read {path}: {error.strerror}") from None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ConfigError(f"{path} holds no JWK Set: a JSON object with `keys` is needed")
    return found


@asynccontextmanager
async def _audited(
    desk: Desk, action: str, *given: object, **options: object
) -> AsyncIterator[None]:
    """Record what a command changes: before it does, and how it ended."""
    if action.startswith(_READING):
        yield
        return
    shown = {str(place): value for place, value in enumerate(given)} | options
    detail = {name: str(value)[:_LONGEST] for name, value in shown.items() if value is not None}
    await _append(desk, AuditEvent(SYSTEM, action, "begun", {}, _ACTOR, detail))
    try:
        yield
    except BaseException:
        await _append(desk, AuditEvent(SYSTEM, action, "failed", {}, _ACTOR))
        raise
    await _append(desk, AuditEvent(SYSTEM, action, "done", {}, _ACTOR))


async def _append(desk: Desk, event: AuditEvent) -> None:
    async with desk.db.acquire() as con, con.transaction():
        # The desk's role sees identity alone; it is lent by the same owner as the one for this.
        await con.execute("SET LOCAL ROLE naru_app")
        await con.execute("SELECT set_config('naru.tenant', $1, true)", event.tenant)
        await append(con, desk.box.audit_key, event.tenant, [event])


@asynccontextmanager
async def _open_desk(settings: Settings) -> AsyncIterator[Desk]:
    runtime = embedded.runtime_path(settings.data_dir)
    url = settings.database.url
    place = url.get_secret_value() if url else embedded.postgres_url(runtime)
    try:
        async with (
            await open_pool(place, size=1, role="naru_auth") as pool,
            _open_redis(settings) as cache,
        ):
            box = auth.SecretBox.load(settings.auth, settings.data_dir)
            yield Desk(pool, box, settings.auth, auth.Announcer(cache))
    except auth.RegistrationError as error:
        raise ConfigError(str(error)) from None
    except (OSError, asyncpg.PostgresError) as error:
        if url is None and isinstance(error, OSError):
            raise ConfigError("the service is not running: start it with `make run`") from None
        raise ConfigError(f"the database does not answer: {error}") from None


@asynccontextmanager
async def _open_redis(settings: Settings) -> AsyncIterator["redis.asyncio.Redis"]:
    """Open what announces changes; nothing is asked of it before, so that it may be away."""
    runtime = embedded.runtime_path(settings.data_dir)
    url = settings.redis.url
    cache = redis.asyncio.from_url(url.get_secret_value() if url else embedded.redis_url(runtime))
    try:
        yield cache
    finally:
        await cache.aclose()
