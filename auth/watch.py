"""Keeps what a process knows of revocations and signing keys true to PostgreSQL.

Redis says when to look; without it, or when it loses a message, the next look is 2 s away at most.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import redis.asyncio

from auth.keys import SigningKeys
from auth.revocations import CHANNEL, Revocations
from auth.rotation import clear_signing_keys
from config.announcements import Announcements
from config.settings import AuthSettings
from config.tasks import end_task

_POLL_S = 2.0
_CLEAR_S = 30.0
_log = logging.getLogger(__name__)


@asynccontextmanager
async def watching(
    db: asyncpg.Pool,
    cache: "redis.asyncio.Redis",
    settings: AuthSettings,
    keys: SigningKeys,
    revocations: Revocations,
) -> AsyncIterator[None]:
    """Follow the store while the context is open; what is revoked by now is known on entry.

    Raises:
        asyncpg.PostgresError, asyncpg.InterfaceError, OSError: The first look failed. Later ones
            that fail are logged, and what was known stays in force.
    """
    await revocations.refresh()
    announcements = Announcements(cache, CHANNEL)
    task = asyncio.create_task(_watch(db, announcements, settings, keys, revocations))
    try:
        yield
    finally:
        await end_task(task)
        await announcements.close()


async def _watch(
    db: asyncpg.Pool,
    announcements: Announcements,
    settings: AuthSettings,
    keys: SigningKeys,
    revocations: Revocations,
) -> None:
    current = True
    clear_at = time.monotonic() + _CLEAR_S
    while True:
        await announcements.wait(_POLL_S)
        try:
            await revocations.refresh()
            await keys.refresh()
            if time.monotonic() >= clear_at:
                clear_at = time.monotonic() + _CLEAR_S
                await revocations.clear()
                await clear_signing_keys(db, settings)
        except Exception as error:  # noqa: BLE001 - without this task nothing is revoked
            if current:
                _log.warning("revocations and keys can't be read: %s", type(error).__name__)
            current = False
        else:
            if not current:
                _log.info("revocations and keys are read again")
            current = True
