"""`naru migrate`: what a start does to the database, without a start."""

import asyncio

import asyncpg

from config.errors import ConfigError
from config.postgres import look_at_schema, migrate
from config.settings import Settings
from gateway.stores import open_database
from gateway.supervisor import PACKAGES


def run(settings: Settings, *, dry_run: bool) -> list[str]:
    """Apply what is to be applied, or only look; return the lines to tell.

    Raises:
        ConfigError: The database is not there, can't be changed, or is too new.
    """
    with open_database(settings) as url:
        try:
            return asyncio.run(_run(url, dry_run=dry_run))
        except asyncpg.PostgresError as error:
            raise ConfigError(f"the database can't be prepared: {error}") from None


async def _run(url: str, *, dry_run: bool) -> list[str]:
    applied = [] if dry_run else await migrate(url, PACKAGES)
    schema = await look_at_schema(url, PACKAGES)
    pending = [f"to apply: {each.name}" for each in schema.pending]
    told = [f"applied: {name}" for name in applied] + pending
    later = [f"of a later version: {name}" for name in schema.unknown]
    return (told or ["nothing to apply"]) + later
