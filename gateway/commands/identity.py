"""Clients and keys, made directly in the service's database."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import asyncpg

import auth
from auth.admin.clients import list_clients as list_all
from auth.admin.desk import SHELL, Desk
from config import embedded
from config.errors import ConfigError
from config.postgres import open_pool
from config.scope import DEFAULT_SCOPES
from config.settings import Settings


async def create_client(
    settings: Settings, tenant: str, name: str, scopes: Sequence[str] | None
) -> auth.NewClient:
    """Make a client, and its tenant when there is none of that id."""
    async with _database(settings) as pool:
        box = auth.SecretBox.load(settings.auth, settings.data_dir)
        await auth.create_tenant(pool, tenant, tenant)
        return await auth.create_client(
            pool, box, tenant, name=name, scopes=scopes or DEFAULT_SCOPES
        )


async def list_clients(settings: Settings, tenant: str) -> list[auth.Client]:
    """Return a tenant's clients, oldest first."""
    async with _database(settings) as pool:
        desk = Desk(pool, auth.SecretBox("x" * 32), settings.auth, auth.Announcer(None))
        return await list_all(desk, SHELL, limit=1000, tenant=tenant)


async def create_key(
    settings: Settings, client_id: str, scopes: Sequence[str] | None
) -> auth.NewKey:
    """Make an API key that acts as the client."""
    async with _database(settings) as pool:
        box = auth.SecretBox.load(settings.auth, settings.data_dir)
        return await auth.create_key(pool, box, client_id, scopes=scopes or None)


@asynccontextmanager
async def _database(settings: Settings) -> AsyncIterator[asyncpg.Pool]:
    """Open the database of the settings, or the running embedded one.

    Raises:
        ConfigError: It does not answer, or the request can't be done.
    """
    runtime = embedded.runtime_path(settings.data_dir)
    url = settings.database.url
    place = url.get_secret_value() if url else embedded.postgres_url(runtime)
    try:
        async with await open_pool(place, size=1, role="naru_auth") as pool:
            yield pool
    except auth.RegistrationError as error:
        raise ConfigError(str(error)) from None
    except (OSError, asyncpg.PostgresError) as error:
        if url is None and isinstance(error, OSError):
            raise ConfigError("the service is not running: start it with `make run`") from None
        raise ConfigError(f"the database does not answer: {error}") from None
