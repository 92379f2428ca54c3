"""Readings under way: each ends when nobody wants it any more, and tells how far it is."""

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import asyncpg

from config.postgres import UNREACHABLE, load_queries, tenant_transaction
from rag.prepare import Progress, Source

_SQL = load_queries("rag", "watch.sql")
_log = logging.getLogger(__name__)
_LOOK_S = 1.0


@dataclass(slots=True)
class _Reading:
    source: Source
    work: "asyncio.Task[None]"
    progress: Progress
    told: tuple[int, int | None] = (0, None)


class Watch:
    """Looks at the claims of all readings once a second, in one statement."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._readings: dict[uuid.UUID, _Reading] = {}

    @contextlib.contextmanager
    def over(
        self, claim: uuid.UUID, source: Source, work: "asyncio.Task[None]", progress: Progress
    ) -> Iterator[None]:
        """Cancel `work` as soon as the claim is lost: to another, or to a cancelled file."""
        self._readings[claim] = _Reading(source, work, progress)
        try:
            yield
        finally:
            del self._readings[claim]

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_S)
            try:
                await self._look()
            except UNREACHABLE as error:
                _log.warning("the look over readings waits: %s", type(error).__name__)

    async def _look(self) -> None:
        looked_at = dict(self._readings)
        if not looked_at:
            return
        rows = await self._pool.fetch(_SQL["wanted"], list(looked_at))
        wanted = {row["claim"] for row in rows}
        for claim, reading in looked_at.items():
            if claim not in wanted:
                reading.work.cancel()
            elif reading.told != (state := (reading.progress.done, reading.progress.total)):
                async with tenant_transaction(self._pool, reading.source.tenant) as con:
                    ids = reading.source.store_id, reading.source.file_id
                    await con.execute(_SQL["tell"], *ids, claim, *state)
                reading.told = state
