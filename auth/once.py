"""What may be used a single time over all replicas: assertions, DPoP proofs."""

import asyncio
import datetime as dt
import hashlib

from config.postgres import Database, load_queries

_TIMEOUT_S = 5.0
_SQL = load_queries("auth", "once.sql")


async def first_use(db: Database, value: str, expires: dt.datetime) -> bool:
    """Tell whether `value` is used for the first time; True once until `expires`.

    The caller makes values of different kinds differ. Only a hash is kept.

    Raises:
        asyncpg.PostgresError, asyncpg.InterfaceError, OSError: The store failed.
    """
    digest = hashlib.sha256(value.encode()).digest()
    async with asyncio.timeout(_TIMEOUT_S):
        return bool(await db.fetchval(_SQL["use"], digest, expires))
