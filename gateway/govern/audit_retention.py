"""Audit records that have been kept long enough are deleted."""

import time

import asyncpg

from config.audit import AuditSettings
from gateway.govern.audit import chains, prune
from rag.jobs import Job, Jobs

_KIND = "prune_audit"
_HOURLY = "17 * * * *"


class AuditRetention:
    """Does the jobs of deleting them, of every tenant; `pool` works as `naru_jobs`."""

    def __init__(self, pool: asyncpg.Pool, key: bytes, settings: AuditSettings) -> None:
        self._pool = pool
        self._key = key
        self._days = settings.retention_days

    def register(self, jobs: Jobs) -> None:
        """Have it done every hour, where the settings say for how long records are kept."""
        if self._days is not None:
            jobs.on(_KIND, self.sweep)
            jobs.schedule(_HOURLY, _KIND)

    async def sweep(self, _: Job | None = None) -> None:
        """Delete what is older, each chain in a transaction of its own."""
        if self._days is None:
            return
        before_ms = int((time.time() - self._days * 86400) * 1000)
        for tenant in await chains(self._pool):
            await prune(self._pool, self._key, tenant, before_ms)
